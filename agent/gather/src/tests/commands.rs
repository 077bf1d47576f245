//! What commands say.

use super::*;
use crate::check::ContentTest;

fn commands(site: &TestSite, runs: &[(&str, &str)]) -> Source {
    let outputs = runs.iter().map(|(run, file)| CommandOutput {
        run: (*run).to_owned(),
        file: (*file).to_owned(),
        checks: Vec::new(),
    });
    Source { what: What::Commands(outputs.collect()), ..site.this_host() }
}

fn kept(site: &TestSite, file: &str) -> String {
    fs::read_to_string(site.state().join("mirror/this-host").join(file)).unwrap()
}

#[tokio::test]
async fn the_output_of_a_command_comes_and_stays_untouched_while_it_is_the_same() {
    let site = TestSite::new();
    let source = commands(&site, &[("echo one; echo ignored >&2", "one.txt"), ("printf two", "two.txt")]);
    let outcome = site.gather_source(source.clone()).await;
    assert_eq!((&outcome.state, outcome.counts.files, outcome.counts.bytes), (&SourceState::Complete, 2, 7));
    assert_eq!((kept(&site, "one.txt"), kept(&site, "two.txt")), ("one\n".to_owned(), "two".to_owned()));
    let before = change_times(&site.state().join("mirror"));
    let outcome = site.gather_source(source).await;
    assert_eq!((outcome.state, outcome.counts.copied_files), (SourceState::Complete, 0));
    assert_eq!(change_times(&site.state().join("mirror")), before);
}

#[tokio::test]
async fn a_command_that_fails_leaves_the_last_good_output() {
    let site = TestSite::new();
    let file = site.dir.path().join("good");
    fs::write(&file, "x").unwrap();
    let run = format!("echo half; test -e {} || {{ echo 'no such luck' >&2; exit 3; }}; echo whole", file.display());
    let source = commands(&site, &[(&run, "a"), ("echo b", "b")]);
    assert_eq!(site.gather_source(source.clone()).await.state, SourceState::Complete);
    fs::remove_file(file).unwrap();
    let outcome = site.gather_source(source).await;
    assert!(problems(&outcome).contains("/a: the command ended with exit status: 3: no such luck"), "{outcome:?}");
    assert_eq!((kept(&site, "a"), kept(&site, "b")), ("half\nwhole\n".to_owned(), "b\n".to_owned()));
    assert_eq!(outcome.counts.files, 2);
}

#[tokio::test]
async fn a_command_that_says_too_much_nothing_or_waits_for_input_is_ended() {
    let site = TestSite::new();
    let mut source = commands(
        &site,
        &[("yes | head -c 9000000", "endless"), ("sleep 1000", "silent"), ("read x || echo no input", "asks")],
    );
    source.limits.file_bytes = 1 << 20;
    source.limits.silence = Duration::from_millis(500);
    source.limits.time = Duration::from_secs(20);
    let outcome = site.gather_source(source).await;
    let text = problems(&outcome);
    assert!(text.contains("/endless: the command says more than 1048576 bytes"), "{text}");
    assert!(text.contains("/silent: the command said nothing"), "{text}");
    assert_eq!(kept(&site, "asks"), "no input\n");
    assert!(!site.state().join("mirror/this-host/endless").exists());
}

#[tokio::test]
async fn an_output_that_does_not_pass_its_check_is_kept_aside() {
    let site = TestSite::new();
    let mut source = commands(&site, &[("echo '{\"a\":'", "a.json")]);
    let What::Commands(list) = &mut source.what else { unreachable!() };
    list[0].checks = vec![FileRule {
        files: GlobSetBuilder::new().add(Glob::new("/a.json").unwrap()).build().unwrap(),
        tests: vec![ContentTest::Json],
    }];
    let outcome = site.gather_source(source).await;
    assert!(problems(&outcome).contains("rejected"), "{outcome:?}");
    assert!(!site.state().join("mirror/this-host/a.json").exists());
    assert_eq!(fs::read_to_string(site.site().aside("this-host").join("a.json")).unwrap(), "{\"a\":\n");
}

#[tokio::test]
async fn what_a_command_leaves_running_ends_with_it() {
    let site = TestSite::new();
    let source = commands(&site, &[("sleep 60 >/dev/null 2>&1 & echo $!", "id")]);
    assert_eq!(site.gather_source(source).await.state, SourceState::Complete);
    let stat = PathBuf::from(format!("/proc/{}/stat", kept(&site, "id").trim()));
    // Whoever takes in orphans takes it off the list of processes; until then it is a zombie.
    let lives = || fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z "));
    let gone = async {
        while lives() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), gone).await.expect("it still runs");
}
