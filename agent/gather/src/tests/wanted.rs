//! Which files come: globs, newest, links.

use std::os::unix::fs::symlink;

use super::*;

fn names(path: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn globs_bring_what_they_match_and_nothing_else() {
    let site = TestSite::new();
    for name in ["monit.d/a", "monit.d/deep/b", "conf/x.conf", "conf/x.txt", "conf/y.conf", "other"] {
        site.write(name, b"x");
    }
    let source = site.with(|files| files.paths = vec![site.pattern("monit.d/**"), site.pattern("conf/*.conf")]);
    let outcome = site.gather_source(source).await;
    assert_eq!((&outcome.state, outcome.counts.files), (&SourceState::Complete, 4));
    assert_eq!(names(&site.mirrored("")), ["conf", "monit.d"]);
    assert_eq!(names(&site.mirrored("conf")), ["x.conf", "y.conf"]);
    assert!(site.mirrored("monit.d/deep/b").exists());
}

#[tokio::test]
async fn a_path_that_leads_to_nothing_is_a_problem_unless_it_may() {
    let site = TestSite::new();
    site.write("etc/here", b"x");
    let both = |files: &mut Files| {
        files.paths = vec![site.pattern("etc/here"), site.pattern("etc/*.missing"), site.pattern("nowhere/x")];
        files.if_present = vec![site.pattern("etc/*.none"), site.pattern("gone/x"), site.pattern("etc/neither")];
    };
    let outcome = site.gather_source(site.with(both)).await;
    let text = problems(&outcome);
    assert!(text.contains("etc/*.missing: leads to nothing") && text.contains("nowhere: No such file"), "{text}");
    assert_eq!(text.lines().count(), 2, "{text}");
    assert!(site.mirrored("etc/here").exists());
}

#[tokio::test]
async fn of_rotated_logs_the_newest_come_in_each_folder() {
    let site = TestSite::new();
    for folder in ["fw", "dns"] {
        for day in 1..=5_u32 {
            let name = format!("log/{folder}/messages-{day}.gz");
            site.write(&name, b"x");
            // The newest first: names alone don't tell.
            set_mtime(&site.source(&name), 1_000_000_000 - u64::from(day), 0);
        }
        site.write(&format!("log/{folder}/messages"), b"x");
    }
    let newest =
        Newest { files: Glob::new(site.source("log/*/*.gz").to_str().unwrap()).unwrap().compile_matcher(), keep: 2 };
    let source = site.with(|files| files.newest = vec![newest]);
    let outcome = site.gather_source(source.clone()).await;
    assert_eq!(outcome.counts.files, 6);
    assert_eq!(names(&site.mirrored("log/fw")), ["messages", "messages-1.gz", "messages-2.gz"]);
    site.write("log/fw/messages-0.gz", b"x");
    site.gather_source(source).await;
    assert_eq!(names(&site.mirrored("log/fw")), ["messages", "messages-0.gz", "messages-1.gz"]);
}

#[tokio::test]
async fn links_are_followed_within_what_is_named_and_not_in_circles() {
    let site = TestSite::new();
    site.write("data/file", b"content");
    site.write("data/deep/inner", b"x");
    symlink("data/file", site.source("to-file")).unwrap();
    symlink("data", site.source("to-folder")).unwrap();
    symlink("..", site.source("data/back")).unwrap();
    symlink("missing", site.source("to-nothing")).unwrap();
    symlink("/etc/hostname", site.source("outside")).unwrap();
    symlink("/etc", site.source("outside-folder")).unwrap();
    let outcome = site.gather_source(site.with(|files| files.symlinks = Symlinks::Follow)).await;
    let text = problems(&outcome);
    assert_eq!(fs::read(site.mirrored("to-file")).unwrap(), b"content");
    assert!(site.mirrored("to-file").symlink_metadata().unwrap().is_file());
    assert_eq!(fs::read(site.mirrored("to-folder/deep/inner")).unwrap(), b"x");
    assert!(!site.mirrored("outside").exists() && !site.mirrored("outside-folder").exists());
    for part in [
        "data/back: leads back",
        "to-folder/back: leads back",
        "to-nothing: No such file",
        "outside: links to",
        "outside-folder: links to",
    ] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
}

#[tokio::test]
async fn a_preview_says_what_would_come_and_brings_nothing() {
    let site = TestSite::new();
    site.write("log/grows.log", &[b'x'; 600_000]);
    for name in ["same", "changes", "goes"] {
        site.write(name, b"before");
    }
    site.grow_old();
    let glob = site.globs(&["**/*.log"]);
    let source = site.with(|files| files.append = Append { files: glob, except: GlobSet::empty() });
    site.gather_source(source.clone()).await;
    let before = change_times(&site.state());
    site.write("log/grows.log", &[b'x'; 600_010]);
    site.write("changes", b"after!!");
    site.write("new/one", b"12345");
    fs::remove_file(site.source("goes")).unwrap();
    let told = Arc::new(std::sync::Mutex::new(Vec::new()));
    let ear = Arc::clone(&told);
    let outcome = preview(&site.site(), &source, move |coming| ear.lock().unwrap().push(coming)).await.unwrap();
    let mut told = told.lock().unwrap().clone();
    told.sort_by(|a, b| a.path.cmp(&b.path));
    let said: Vec<_> = told
        .iter()
        .map(|c| (c.path.strip_prefix(site.source("")).unwrap().to_str().unwrap(), c.bytes, c.why))
        .collect();
    assert_eq!(
        said,
        [
            ("changes", 7, Why::Changed),
            ("goes", 0, Why::Gone),
            ("log/grows.log", 10, Why::Grown),
            ("new/one", 5, Why::New)
        ]
    );
    assert_eq!(
        (outcome.state, outcome.counts.copied_files, outcome.counts.copied_bytes),
        (SourceState::Complete, 3, 22)
    );
    assert_eq!(change_times(&site.state()), before, "nothing was touched");
}
