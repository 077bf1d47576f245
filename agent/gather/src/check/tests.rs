#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;

use globset::{GlobBuilder, GlobSetBuilder};

use super::*;

fn all(tests: Vec<ContentTest>) -> FileRule {
    rule("/**", tests)
}

fn rule(glob: &str, tests: Vec<ContentTest>) -> FileRule {
    let mut set = GlobSetBuilder::new();
    set.add(GlobBuilder::new(glob).literal_separator(true).build().unwrap());
    FileRule { files: set.build().unwrap(), tests }
}

async fn judge(test: ContentTest, content: impl AsRef<[u8]>) -> Result<(), String> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(content.as_ref()).unwrap();
    file.flush().unwrap();
    all(vec![test]).check(Path::new("/file"), file.path()).await.map_err(|rejection| rejection.0)
}

fn xml(root: &str) -> ContentTest {
    ContentTest::Xml { root: Some(root.to_owned()) }
}

/// What `judge` says of each, when it should refuse it with that part.
async fn refuses(test: &ContentTest, cases: &[(Vec<u8>, &str)]) {
    for (content, part) in cases {
        let refused = judge(test.clone(), content).await;
        let shown = String::from_utf8_lossy(&content[..content.len().min(60)]).into_owned();
        assert!(refused.as_ref().is_err_and(|why| why.contains(part)), "{shown}: {refused:?}");
        assert!(refused.unwrap_err().len() < 500);
    }
}

fn times(piece: &str, count: usize) -> Vec<u8> {
    piece.repeat(count).into_bytes()
}

#[tokio::test]
async fn good_documents_pass() {
    let config = "<?xml version=\"1.0\"?>\n<!-- a --><opnsense><a b=\"1\">x &amp; y</a><c/></opnsense>\n";
    assert_eq!(judge(xml("opnsense"), config).await, Ok(()));
    assert_eq!(judge(ContentTest::Xml { root: None }, "<any/>").await, Ok(()));
    assert_eq!(judge(ContentTest::Json, "{\"a\": [1, 2.5e3, \"ö\\n\", null, true]}\n").await, Ok(()));
    let yaml = "%YAML 1.2\n---\na: &x [1, {b: c}]\nd: *x\ntext: |\n  long\n---\n- second\n";
    assert_eq!(judge(ContentTest::Yaml, yaml).await, Ok(()));
    assert_eq!(judge(ContentTest::Toml, "a = 1\n[b.c]\nd = [\"x\"]\n").await, Ok(()));
}

#[tokio::test]
async fn broken_xml_is_refused_with_the_reason() {
    let cases = [
        (b"<opnsense><a></opnsense>".to_vec(), "no good XML"),
        (b"<opnsense>".to_vec(), "no good XML"),
        (b"<opnsense/><opnsense/>".to_vec(), "no good XML"),
        (b"<opnsense a='1' a='2'/>".to_vec(), "no good XML"),
        (b"<opnsense>&nope;</opnsense>".to_vec(), "no good XML"),
        (b"<opnsense>\x00</opnsense>".to_vec(), "no good XML"),
        (b"<opnsense>\xff</opnsense>".to_vec(), "no good XML"),
        (b"<opnsense/>trailing".to_vec(), "no good XML"),
        (b"".to_vec(), "no good XML"),
        (b"<html/>".to_vec(), "root element is <html>, not <opnsense>"),
    ];
    refuses(&xml("opnsense"), &cases).await;
}

#[tokio::test]
async fn hostile_xml_is_refused_before_it_grows() {
    let mut laughs = String::from("<!DOCTYPE opnsense [<!ENTITY a0 \"ha\">");
    for level in 1..30 {
        laughs += &format!("<!ENTITY a{level} \"{}\">", format!("&a{};", level - 1).repeat(10));
    }
    laughs += "]><opnsense>&a29;</opnsense>";
    let attributes = (0..5000).map(|n| format!(" a{n}=''")).collect::<String>();
    let cases = [
        (laughs.into_bytes(), "document type"),
        (b"<!DOCTYPE opnsense SYSTEM \"file:///etc/passwd\"><opnsense/>".to_vec(), "document type"),
        (times("<a>", 100_000), "more than 256 deep"),
        (format!("<opnsense{attributes}/>").into_bytes(), "more complex than allowed"),
        (format!("<{}/>", "n".repeat(5000)).into_bytes(), "no good XML"),
        (format!("<opnsense a='{}'/>", "v".repeat(2 << 20)).into_bytes(), "no good XML"),
        (format!("<opnsense>{}</opnsense>", "v".repeat(17 << 20)).into_bytes(), "no good XML"),
    ];
    refuses(&ContentTest::Xml { root: None }, &cases).await;
    let nested = |depth: usize| format!("{}{}", "<a>".repeat(depth), "</a>".repeat(depth));
    assert_eq!(judge(ContentTest::Xml { root: None }, nested(256)).await, Ok(()));
    assert!(judge(ContentTest::Xml { root: None }, nested(257)).await.is_err());
}

#[tokio::test]
async fn broken_json_is_refused_with_its_line() {
    let cases = [
        (b"{\"a\": 1,\n}".to_vec(), "line 2"),
        (b"{} {}".to_vec(), "trailing"),
        (b"".to_vec(), "no JSON"),
        (b"\"\xff\"".to_vec(), "byte 1 is not UTF-8"),
        (times("[", 100_000), "no JSON"),
    ];
    refuses(&ContentTest::Json, &cases).await;
}

#[tokio::test]
async fn json_nested_however_deep_costs_no_stack() {
    let deep = [times("[", 100_000), times("]", 100_000)].concat();
    assert_eq!(judge(ContentTest::Json, deep).await, Ok(()));
}

#[tokio::test]
async fn broken_yaml_is_refused() {
    let cases = [
        (b"a: [1, 2".to_vec(), "no good YAML"),
        (b"a: b: c".to_vec(), "no good YAML"),
        (b"a: *nobody".to_vec(), "no good YAML"),
        (b"a:\n\t- b".to_vec(), "no good YAML"),
        (b"a: \xff\n".to_vec(), "byte 3 is not UTF-8"),
    ];
    refuses(&ContentTest::Yaml, &cases).await;
}

#[tokio::test]
async fn hostile_yaml_is_refused_or_harmless() {
    let held = "1,".repeat(200_000);
    let anchors = (0..100_001).map(|n| format!("- &a{n} x\n")).collect::<String>();
    let cases = [
        (times("[", 100_000), "no good YAML"),
        (times("- ", 100_000), "more than 256 deep"),
        (format!("[{held}1]").into_bytes(), "longer than 262144 characters"),
        (anchors.into_bytes(), "more than 100000 anchors"),
    ];
    refuses(&ContentTest::Yaml, &cases).await;
    // Were these followed, there would be 9^12 of them.
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let of = format!("*a{}, ", level - 1).repeat(9);
        bomb += &format!("a{level}: &a{level} [{}]\n", of.trim_end_matches(", "));
    }
    assert_eq!(judge(ContentTest::Yaml, bomb).await, Ok(()));
    assert_eq!(judge(ContentTest::Yaml, times("- a: b\n  c: [d, e]\n", 200_000)).await, Ok(()));
}

#[tokio::test]
async fn broken_and_hostile_toml_is_refused_without_an_excerpt() {
    let cases = [
        (b"a = 1\nb = ".to_vec(), "line 2"),
        (b"a = 1\na = 2\n".to_vec(), "line 2"),
        (b"\xff = 1".to_vec(), "no TOML"),
        ([b"a = ".to_vec(), times("[", 100_000)].concat(), "no TOML"),
        ([b"a = ".to_vec(), times("{b=", 100_000)].concat(), "no TOML"),
        (times("a.", 100_000), "no TOML"),
        (times("#", (1 << 20) + 1), "only up to 1048576 are looked into as TOML"),
    ];
    refuses(&ContentTest::Toml, &cases).await;
    let secret = judge(ContentTest::Toml, "password = \"open sesame\" x\n").await.unwrap_err();
    assert!(!secret.contains("sesame"), "{secret}");
}

#[tokio::test]
async fn a_sparse_giant_is_refused_unread_whatever_it_should_be() {
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(1 << 30).unwrap();
    for test in [ContentTest::Json, ContentTest::Yaml, ContentTest::Toml, xml("a")] {
        let refused = all(vec![test]).check(Path::new("/f"), file.path()).await.unwrap_err().0;
        assert!(refused.contains("it has 1073741824 bytes; only up to"), "{refused}");
    }
    // What it looks for is there, behind all that is searched.
    file.as_file().write_at(b"needle", MAX_DOCUMENT_BYTES).unwrap();
    let matches = ContentTest::Matches(Regex::new("needle").unwrap());
    let refused = all(vec![matches.clone()]).check(Path::new("/f"), file.path()).await.unwrap_err().0;
    assert!(refused.contains("first 67108864 bytes"), "{refused}");
    file.as_file().write_at(b"needle", MAX_DOCUMENT_BYTES - 6).unwrap();
    assert!(all(vec![matches]).check(Path::new("/f"), file.path()).await.is_ok());
    // One byte more than the limit, one at it.
    for (size, refused) in [(MAX_DOCUMENT_BYTES, false), (MAX_DOCUMENT_BYTES + 1, true)] {
        file.as_file().set_len(size).unwrap();
        let said = all(vec![ContentTest::Json]).check(Path::new("/f"), file.path()).await.unwrap_err().0;
        assert_eq!(said.contains("only up to"), refused, "{said}");
    }
}

#[tokio::test]
async fn an_expression_must_match_somewhere_and_bytes_are_bytes() {
    let has = |text: &str| ContentTest::Matches(Regex::new(text).unwrap());
    assert_eq!(judge(has("(?m)^include /etc/dnsmasq"), b"\xff\ninclude /etc/dnsmasq.d\n").await, Ok(()));
    let refused = judge(has("(?m)^server="), "#server=\n").await.unwrap_err();
    assert!(refused.contains("nothing in it matches \"(?m)^server=\""), "{refused}");
}

#[tokio::test]
async fn a_file_must_have_its_least_size() {
    assert_eq!(judge(ContentTest::MinBytes(3), "abc").await, Ok(()));
    let refused = judge(ContentTest::MinBytes(4), "abc").await.unwrap_err();
    assert!(refused.contains("3 bytes, and should have 4"), "{refused}");
}

#[tokio::test]
async fn all_tests_of_a_rule_count_and_only_for_its_files() {
    let rule = rule("/conf/*.xml", vec![ContentTest::MinBytes(1), xml("opnsense")]);
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), "<html/>").unwrap();
    assert!(rule.concerns(Path::new("/conf/config.xml")) && !rule.concerns(Path::new("/conf/backup/config.xml")));
    assert!(rule.check(Path::new("/conf/config.xml"), file.path()).await.is_err());
    assert!(rule.check(Path::new("/conf/other"), file.path()).await.is_ok());
}

#[tokio::test]
async fn what_is_no_regular_file_is_neither_followed_nor_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let link = dir.path().join("link");
    std::os::unix::fs::symlink("/etc/hostname", &link).unwrap();
    assert!(all(vec![ContentTest::MinBytes(1)]).check(Path::new("/f"), &link).await.is_err());
    let fifo = dir.path().join("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RUSR).unwrap();
    let refused = all(vec![ContentTest::MinBytes(0)]).check(Path::new("/f"), &fifo).await.unwrap_err().0;
    assert!(refused.contains("no regular file"), "{refused}");
}
