#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::fs;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use drawbridge_gather::{Kind, Meta, Mtime, Site};
use serde_json::Value;

use super::*;
use crate::ui::Form;

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Catalogues of nothing.
fn no_origins() -> Origins {
    Origins::new(&Site::new(Path::new("/nonexistent")))
}

const PASSWORD: &str = "correct horse";

/// A mirror that was backed up once.
struct Place {
    dir: tempfile::TempDir,
    repository: LocalRepository,
}

impl Place {
    fn new(fill: impl FnOnce(&Path)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mirror = dir.path().join("mirror");
        fs::create_dir_all(mirror.join("fw/etc")).unwrap();
        fill(&mirror.join("fw/etc"));
        let repository = LocalRepository::create(&dir.path().join("repository"), PASSWORD).unwrap();
        repository.back_up(&mirror, no_origins(), Arc::new(|_| ())).unwrap();
        Self { dir, repository }
    }

    fn mirror(&self) -> PathBuf {
        self.dir.path().join("mirror")
    }

    fn etc(&self) -> PathBuf {
        self.mirror().join("fw/etc")
    }

    fn said(&self, form: Form, wanted: Option<&[OsString]>, stated: Stated<'_>) -> String {
        let out = Captured::default();
        let ui = Ui::new(form, Box::new(out.clone()), Box::new(io::sink()));
        let snapshot = self.repository.latest().unwrap().unwrap();
        tell(&ui, &snapshot, &self.mirror(), wanted, stated).unwrap();
        let said = out.0.lock().unwrap().clone();
        String::from_utf8(said).unwrap()
    }

    fn text(&self) -> String {
        self.said(Form::Plain, None, &|_| Ok(None))
    }

    fn events(&self) -> Vec<Value> {
        self.said(Form::Json, None, &|_| Ok(None)).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// Writes a file whose time is so many seconds after another moment.
fn write(path: &Path, content: impl AsRef<[u8]>, seconds: u64) {
    fs::write(path, content).unwrap();
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_500_000_000 + seconds);
    fs::File::open(path).unwrap().set_modified(time).unwrap();
}

#[test]
fn an_unchanged_mirror_has_no_differences() {
    let place = Place::new(|etc| write(&etc.join("hosts"), "127.0.0.1 localhost\n", 0));
    let text = place.text();
    assert!(text.starts_with("Nothing changed since snapshot ") && text.lines().count() == 1, "{text}");
}

#[test]
fn a_changed_text_is_shown_as_a_unified_difference_without_its_secrets() {
    let place = Place::new(|etc| write(&etc.join("app.conf"), "user = joe\npassword = hunter22\n", 0));
    write(&place.etc().join("app.conf"), "user = ann\npassword = hunter33\n", 5);
    let text = place.text();
    let expected = "changed fw/etc/app.conf: 31 B -> 31 B, time 2017-07-14T02:40:00Z -> 2017-07-14T02:40:05Z\n\
                    --- a/fw/etc/app.conf\t2017-07-14T02:40:00Z\n\
                    +++ b/fw/etc/app.conf\t2017-07-14T02:40:05Z\n\
                    @@ -1,2 +1,2 @@\n-user = joe\n-password = ‹masked 1›\n+user = ann\n+password = ‹masked 2›\n\
                    0 added, 0 removed, 1 changed since snapshot ";
    assert!(text.starts_with(expected), "{text}");
}

#[test]
fn what_came_and_what_went_is_told_with_its_content_or_its_size() {
    let place = Place::new(|etc| {
        fs::create_dir(etc.join("old.d")).unwrap();
        write(&etc.join("old.d/gone"), "bye\n", 0);
    });
    fs::remove_dir_all(place.etc().join("old.d")).unwrap();
    write(&place.etc().join("new"), "hello\ntoken = abcdef\n", 0);
    write(&place.etc().join("blob"), [0, 1, 2], 0);
    write(&place.etc().join("large"), vec![b'x'; 64 * 1024 + 1], 0);
    symlink("/nowhere", place.etc().join("link")).unwrap();
    let text = place.text();
    for part in [
        "removed fw/etc/old.d: folder\n",
        "removed fw/etc/old.d/gone: 4 B\n--- a/fw/etc/old.d/gone\t2017-07-14T02:40:00Z\n+++ /dev/null\n@@ -1 +0,0 @@\n-bye\n",
        "added fw/etc/new: 21 B\n--- /dev/null\n+++ b/fw/etc/new\t2017-07-14T02:40:00Z\n@@ -0,0 +1,2 @@\n+hello\n+token = ‹masked 1›\n",
        "added fw/etc/blob: 3 B, binary\n",
        "added fw/etc/large: 64.00 KiB, too large to show\n",
        "added fw/etc/link: link -> /nowhere\n",
        "4 added, 2 removed, 0 changed",
    ] {
        assert!(text.contains(part), "{part} in:\n{text}");
    }
}

#[test]
fn modes_links_and_times_are_told_and_a_folders_time_is_not() {
    let place = Place::new(|etc| {
        write(&etc.join("script"), "true\n", 0);
        write(&etc.join("touched"), "same\n", 0);
        symlink("a", etc.join("link")).unwrap();
        fs::create_dir(etc.join("dir")).unwrap();
    });
    fs::set_permissions(place.etc().join("script"), fs::Permissions::from_mode(0o4755)).unwrap();
    write(&place.etc().join("touched"), "same\n", 9);
    fs::remove_file(place.etc().join("link")).unwrap();
    symlink("b", place.etc().join("link")).unwrap();
    fs::File::open(place.etc().join("dir")).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
    let text = place.text();
    assert!(text.contains("changed fw/etc/link: link a -> b\n"), "{text}");
    assert!(text.contains("changed fw/etc/script: mode 0644 -> 4755\n"), "{text}");
    assert!(text.contains("changed fw/etc/touched: time 2017-07-14T02:40:00Z -> 2017-07-14T02:40:09Z\n"), "{text}");
    assert!(text.contains("0 added, 0 removed, 3 changed"), "{text}");
}

#[test]
fn a_file_that_became_a_folder_is_told_with_what_is_in_it() {
    let place = Place::new(|etc| write(&etc.join("x"), "file\n", 0));
    fs::remove_file(place.etc().join("x")).unwrap();
    fs::create_dir(place.etc().join("x")).unwrap();
    write(&place.etc().join("x/y"), "inside\n", 0);
    let text = place.text();
    assert!(text.contains("changed fw/etc/x: was a file now a folder") && text.contains("added fw/etc/x/y"), "{text}");
}

#[test]
fn a_file_of_equal_size_and_time_but_other_content_is_found_whatever_its_size() {
    let large = |byte: u8| vec![byte; usize::try_from(text::MAX_TEXT_BYTES).unwrap() * 2 + 5];
    let place = Place::new(|etc| {
        write(&etc.join("small"), "one\n", 0);
        write(&etc.join("large"), large(b'a'), 0);
        write(&etc.join("rewritten"), large(b'c'), 0);
    });
    write(&place.etc().join("small"), "two\n", 0);
    let mut changed = large(b'a');
    *changed.last_mut().unwrap() = b'b';
    write(&place.etc().join("large"), changed, 0);
    write(&place.etc().join("rewritten"), large(b'c'), 0);
    let text = place.text();
    assert!(
        text.contains("-one\n+two\n")
            && text.contains("changed fw/etc/large: 2.00 MiB -> 2.00 MiB, too large to show\n"),
        "{text}"
    );
    assert!(text.contains("2 changed") && !text.contains("rewritten"), "{text}");
}

#[test]
fn text_is_compared_below_a_mebibyte_and_no_more_from_there_on() {
    let of = |size: u64, end: &str| format!("{}{end}\n", "x\n".repeat(usize::try_from(size / 2 - 1).unwrap()));
    let place = Place::new(|etc| {
        write(&etc.join("below"), of(text::MAX_TEXT_BYTES - 2, "a"), 0);
        write(&etc.join("from"), of(text::MAX_TEXT_BYTES, "a"), 0);
    });
    write(&place.etc().join("below"), of(text::MAX_TEXT_BYTES - 2, "b"), 1);
    write(&place.etc().join("from"), of(text::MAX_TEXT_BYTES, "b"), 1);
    let events = place.events();
    let content = |index: usize| {
        (events[index]["path"].as_str().unwrap().to_owned(), events[index]["content"].as_str().unwrap().to_owned())
    };
    assert_eq!(content(0), ("/etc/below".to_owned(), "text".to_owned()));
    assert_eq!(content(1), ("/etc/from".to_owned(), "large".to_owned()));
}

#[test]
fn a_machine_gets_one_event_a_file_and_no_secret() {
    let place = Place::new(|etc| write(&etc.join("app.conf"), "password = hunter22\n", 0));
    write(&place.etc().join("app.conf"), "password = hunter33\n", 5);
    let events = place.events();
    assert_eq!(events.len(), 2);
    assert_eq!(
        (&events[0]["event"], &events[0]["source"], &events[0]["path"]),
        (&"change".into(), &"fw".into(), &"/etc/app.conf".into())
    );
    assert_eq!((&events[0]["change"], &events[0]["before"]["mode"]), (&"changed".into(), &"0644".into()));
    assert_eq!(events[0]["diff"], "@@ -1 +1 @@\n-password = ‹masked 1›\n+password = ‹masked 2›\n");
    assert_eq!((&events[1]["event"], &events[1]["changed"]), (&"diff".into(), &1.into()));
    assert!(!format!("{events:?}").contains("hunter"));
}

#[test]
fn only_the_sources_that_were_asked_for_are_compared() {
    let place = Place::new(|etc| write(&etc.join("x"), "1\n", 0));
    write(&place.etc().join("x"), "2\n", 1);
    fs::create_dir(place.mirror().join("dns")).unwrap();
    write(&place.mirror().join("dns/y"), "1\n", 0);
    let text = place.said(Form::Plain, Some(&["dns".into()]), &|_| Ok(None));
    assert!(text.contains("added dns/y") && !text.contains("fw/"), "{text}");
}

#[test]
fn what_the_source_host_says_counts_more_than_the_mirrors_file_system() {
    let place = Place::new(|etc| write(&etc.join("x"), "1\n", 0));
    let mtime = Mtime { seconds: 1_500_000_000, nanoseconds: 0 };
    let meta = Meta { kind: Kind::File, size: 2, allocated: None, mode: 0o600, uid: 7, gid: 8, mtime };
    let of = |path: &Path| Ok((path == Path::new("fw/etc/x")).then(|| meta.clone()));
    let text = place.said(Form::Plain, None, &of);
    assert!(text.contains("changed fw/etc/x: mode 0644 -> 0600, owner ") && text.contains(" -> 7:8\n"), "{text}");
}

#[test]
fn names_that_would_forge_lines_or_steer_a_terminal_are_made_harmless() {
    let place = Place::new(|_| ());
    let name = std::ffi::OsStr::from_bytes(b"a\n+++ b:x\x1b[2J\xff");
    write(&place.etc().join(name), "fine\n", 0);
    let text = place.text();
    assert!(text.contains("added fw/etc/a\u{fffd}+++ b:x\u{fffd}[2J\u{fffd}: 5 B\n"), "{text}");
    assert!(!text.contains('\u{1b}'), "{text}");
}

#[test]
fn a_mirror_that_cannot_be_read_is_an_error_and_not_a_removal() {
    let place = Place::new(|etc| write(&etc.join("x"), "1\n", 0));
    let snapshot = place.repository.latest().unwrap().unwrap();
    let file = place.mirror().join("fw/etc/x/not-a-folder");
    let error = tell(&Ui::silent(), &snapshot, &file, None, &|_| Ok(None)).unwrap_err();
    assert!(error.to_string().contains("cannot read"), "{error}");
}

/// A state folder with a configuration of two sources, of which nothing has been backed up.
fn config(state: &Path) -> Config {
    let text = format!(
        "state_dir = {state:?}\n[repository]\npassword_file = \"password\"\n[stack]\nregion = \"eu-central-1\"\nstart = \"a\"\n\
         session = \"b\"\nreport = \"c\"\n[[source]]\nname = \"fw\"\npaths = [\"/etc/hosts\"]\n\
         [[source]]\nname = \"dns\"\npaths = [\"/etc/hosts\"]\n"
    );
    fs::write(state.join("password"), PASSWORD).unwrap();
    fs::set_permissions(state.join("password"), fs::Permissions::from_mode(0o600)).unwrap();
    Config::parse(&text, &state.join("drawbridge.toml")).unwrap()
}

fn spoken() -> (Ui, Captured) {
    let out = Captured::default();
    (Ui::new(Form::Plain, Box::new(out.clone()), Box::new(io::sink())), out)
}

#[tokio::test]
async fn without_a_snapshot_it_says_how_to_make_one() {
    let dir = tempfile::tempdir().unwrap();
    let (ui, out) = spoken();
    assert_eq!(diff(&config(dir.path()), &ui, &[]).await.unwrap(), Exit::Done);
    let said = String::from_utf8(out.0.lock().unwrap().clone()).unwrap();
    assert!(said.starts_with("No snapshot yet") && said.contains("`drawbridge run` makes one"), "{said}");
}

#[tokio::test]
async fn a_source_that_is_not_configured_is_refused_with_those_that_are() {
    let dir = tempfile::tempdir().unwrap();
    let error = diff(&config(dir.path()), &Ui::silent(), &["firewall".to_owned()]).await.unwrap_err();
    assert_eq!(error.to_string(), "no source is named \"firewall\": the configuration has fw, dns");
}

#[tokio::test]
async fn the_command_compares_the_mirror_with_the_current_repository() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    fs::create_dir_all(config.mirror_dir().join("fw")).unwrap();
    fs::write(config.mirror_dir().join("fw/x"), "1\n").unwrap();
    let repository = LocalRepository::create(&config.repository_dir(), PASSWORD).unwrap();
    repository.back_up(&config.mirror_dir(), no_origins(), Arc::new(|_| ())).unwrap();
    Current::of(repository.id().clone()).save(&config.state_dir).unwrap();
    fs::write(config.mirror_dir().join("fw/x"), "22\n").unwrap();
    let (ui, out) = spoken();
    diff(&config, &ui, &["fw".to_owned()]).await.unwrap();
    let said = String::from_utf8(out.0.lock().unwrap().clone()).unwrap();
    assert!(said.contains("-1\n+22\n") && said.contains("1 changed since"), "{said}");
}

#[test]
fn what_the_source_calls_by_another_kind_is_not_what_lies_in_the_mirror() {
    let place = Place::new(|etc| write(&etc.join("x"), "1\n", 0));
    let mtime = Mtime { seconds: 1, nanoseconds: 0 };
    let meta = Meta { kind: Kind::Symlink, size: 2, allocated: None, mode: 0o777, uid: 7, gid: 8, mtime };
    let text = place.said(Form::Plain, None, &|path| Ok((path == Path::new("fw/etc/x")).then(|| meta.clone())));
    assert!(text.starts_with("Nothing changed"), "{text}");
}

#[test]
fn a_catalogue_that_cannot_be_read_is_an_error_and_not_another_owner() {
    let place = Place::new(|_| ());
    let snapshot = place.repository.latest().unwrap().unwrap();
    let damaged = |_: &Path| Err(CatalogueError::Damaged { path: "fw".into(), why: "it is cut off" });
    let error = tell(&Ui::silent(), &snapshot, &place.mirror(), None, &damaged).unwrap_err();
    assert!(error.to_string().contains("damaged"), "{error}");
}
