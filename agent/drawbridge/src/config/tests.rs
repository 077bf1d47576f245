#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use std::fmt::Write as _;

use drawbridge_gather::{Files, Place, Source, What};

use super::*;

mod examples;
mod sources;

const GOOD: &str = r#"state_dir = "/var/lib/drawbridge"
[repository]
password_file = "password"
[stack]
region = "eu-central-1"
start = "drawbridge-home-start"
session = "drawbridge-home-session"
report = "arn:aws:lambda:eu-central-1:123456789012:function:drawbridge-home-report"
source_cidr = "203.0.113.7/32"
endpoint_url = "http://127.0.0.1:4566"
[cross]
streams = 2
[[source]]
name = "this-host"
paths = ["/etc/", "/var//log"]
exclude = ["/var/log/journal/**"]
[[source]]
name = "dns"
host = "dns.lan"
port = 2222
user = "backup"
identity_file = "/etc/drawbridge/id_ed25519"
known_hosts = "hosts"
paths = ["/etc"]
"#;

fn files(source: &Source) -> &Files {
    let What::Files(files) = &source.what else { panic!("{source:?}") };
    files
}

fn shown(patterns: &[drawbridge_gather::pattern::Pattern]) -> Vec<String> {
    patterns.iter().map(ToString::to_string).collect()
}

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, Path::new("/etc/drawbridge/drawbridge.toml"))
}

/// The error of `GOOD` with `from` replaced by `to`: its line and its text.
fn wrong(from: &str, to: &str) -> (usize, String) {
    assert!(GOOD.contains(from), "{from}");
    let error = parse(&GOOD.replacen(from, to, 1)).expect_err(to);
    match &error {
        ConfigError::Syntax { at, .. } | ConfigError::Value { at, .. } => (at.line, error.to_string()),
        other => panic!("{other}"),
    }
}

#[test]
fn the_vaults_bucket_may_be_named_and_must_be_a_buckets_name() {
    assert_eq!(parse(GOOD).unwrap().vault_bucket, None);
    let with = |name: &str| parse(&GOOD.replacen("[cross]", &format!("[vault]\nbucket = {name:?}\n[cross]"), 1));
    assert_eq!(with("drawbridge-home.vault").unwrap().vault_bucket.as_deref(), Some("drawbridge-home.vault"));
    for name in ["ab", "Vault", "s3://vault", "vault/repo", ""] {
        let error = with(name).expect_err(name).to_string();
        assert!(error.contains("line 12") && error.contains("3 to 63"), "{error}");
    }
}

#[test]
fn a_good_file_is_understood_and_its_paths_resolved_against_its_folder() {
    let config = parse(GOOD).unwrap();
    assert_eq!(config.password_file, Path::new("/etc/drawbridge/password"));
    assert_eq!(config.streams, 2);
    assert_eq!(config.stack.source_cidr.unwrap().to_string(), "203.0.113.7/32");
    let [local, remote] = config.sources.as_slice() else { panic!("{:?}", config.sources) };
    assert!(matches!(&local.place, Place::Local { require_mount } if require_mount.is_empty()));
    assert_eq!(shown(&files(local).paths), ["/etc", "/var/log"]);
    let exclude = &files(local).exclude;
    assert!(exclude.is_match("/var/log/journal/a/b") && !exclude.is_match("/var/log/syslog"));
    let Place::Ssh(target) = &remote.place else { panic!("{:?}", remote.place) };
    assert_eq!((target.host.as_str(), target.port, target.user.as_deref()), ("dns.lan", Some(2222), Some("backup")));
    assert_eq!(target.identity_file.as_deref(), Some(Path::new("/etc/drawbridge/id_ed25519")));
    assert_eq!(target.known_hosts.as_deref(), Some(Path::new("/etc/drawbridge/hosts")));
}

#[test]
fn what_is_left_out_has_defaults() {
    let text = GOOD
        .replace("[cross]\nstreams = 2\n", "")
        .replace("port = 2222\n", "")
        .replace("known_hosts = \"hosts\"\n", "");
    let config = parse(&text).unwrap();
    assert_eq!(config.streams, DEFAULT_STREAMS);
    assert_eq!(config.gather, GatherSettings { parallel: 4, bandwidth: None });
    let Place::Ssh(target) = &config.sources.last().unwrap().place else { panic!() };
    // What isn't said here is the SSH client's configuration's to say.
    assert_eq!((target.port, &target.known_hosts, &target.jump), (None, &None, &None));
}

#[test]
fn every_mistake_is_named_with_its_line_and_what_to_do() {
    let cases = [
        // Replaced, replacement, line, a part of the message.
        ("state_dir", "stat_dir", 1, "unknown field `stat_dir`"),
        ("region =", "regoin =", 5, "unknown field `regoin`"),
        ("region = \"eu-central-1\"\n", "", 4, "missing field `region`"),
        ("streams = 2", "streams = \"2\"", 12, "invalid type"),
        ("streams = 2", "streams = 0", 12, "between 1 and 8"),
        ("streams = 2", "streams = 9", 12, "between 1 and 8"),
        ("state_dir = \"/var/lib/drawbridge\"", "state_dir = \"/var\"", 1, "/var/lib/drawbridge"),
        ("\"eu-central-1\"", "\"Frankfurt\"", 5, "eu-central-1"),
        ("\"drawbridge-home-start\"", "\"\"", 6, "sam deploy"),
        ("203.0.113.7/32", "203.0.113.7", 9, "203.0.113.7/32"),
        ("203.0.113.7/32", "203.0.113.7/24", 9, "203.0.113.0/24"),
        ("http://127.0.0.1:4566", "http://192.0.2.1:4566", 10, "https://"),
        ("http://127.0.0.1:4566", "ftp://127.0.0.1", 10, "URL"),
        ("name = \"this-host\"", "name = \"This Host\"", 14, "a-z, 0-9"),
        ("name = \"this-host\"", "name = \"../up\"", 14, "a-z, 0-9"),
        ("name = \"dns\"", "name = \"this-host\"", 18, "two sources named"),
        ("[\"/etc/\", \"/var//log\"]", "[]", 15, "has no paths"),
        ("\"/etc/\"", "\"etc\"", 15, "must begin with /"),
        ("\"/etc/\"", "\"/etc/../root\"", 15, "`..`"),
        ("\"/etc/\"", "\"/\"", 15, "/proc"),
        ("\"/etc/\"", "\"/var/lib\"", 15, "add \"/var/lib/drawbridge\" to the source's exclude"),
        ("\"/etc/\"", "\"/var/lib/drawbridge/mirror\"", 15, "lies within state_dir"),
        ("/var/log/journal/**", "/var/[", 16, "is not a pattern"),
        ("/var/log/journal/**", "log/**", 16, "absolute paths"),
        ("host = \"dns.lan\"\n", "", 19, "add host"),
        ("port = 2222", "port = 0", 20, "between 1 and 65535"),
        ("host = \"dns.lan\"", "host = \"backup@dns\"", 19, "without user or port"),
        ("host = \"dns.lan\"", "host = \"-oProxyCommand=x\"", 19, "begin with a hyphen"),
        ("[cross]", "[cross", 11, "]"),
    ];
    let mut failures = String::new();
    for (from, to, line, part) in cases {
        let (at, message) = wrong(from, to);
        if at != line || !message.contains(part) || !message.contains("/etc/drawbridge/drawbridge.toml, line") {
            writeln!(failures, "{to:?}: expected line {line} and {part:?}, got {message}").unwrap();
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

#[test]
fn the_column_counts_characters() {
    let error = parse(&GOOD.replace("[\"/etc/\"", "[\"/größe\", \"etc\"")).unwrap_err().to_string();
    assert!(error.contains("line 15, column 20:"), "{error}");
}

#[test]
fn a_source_around_the_state_folder_passes_when_it_leaves_it_out() {
    for exclude in ["/var/lib/drawbridge", "/var/lib/drawbridge/**", "/var/lib/drawbr*", "/var/lib"] {
        let text = GOOD.replace("\"/var//log\"", "\"/var\"").replace("/var/log/journal/**", exclude);
        assert!(parse(&text).is_ok(), "{exclude}");
    }
    // Half of it isn't enough.
    let text = GOOD.replace("\"/var//log\"", "\"/var\"").replace("/var/log/journal/**", "/var/lib/drawbridge/mirror");
    assert!(parse(&text).is_err());
}

#[test]
fn no_source_at_all_is_refused() {
    let (head, _) = GOOD.split_once("[[source]]").unwrap();
    assert!(parse(head).unwrap_err().to_string().contains("add a [[source]]"));
}

#[test]
fn the_longest_name_of_a_source_passes_and_a_longer_one_does_not() {
    assert!(parse(&GOOD.replace("\"dns\"", &format!("\"{}\"", "d".repeat(41)))).is_ok());
    assert!(parse(&GOOD.replace("\"dns\"", &format!("\"{}\"", "d".repeat(42)))).is_err());
}

#[test]
fn a_missing_file_says_how_to_get_one() {
    let error = Config::load(Path::new("/nonexistent/drawbridge.toml")).unwrap_err();
    assert!(error.to_string().contains("drawbridge init"), "{error}");
}
