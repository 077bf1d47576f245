//! What a source may say, and what is refused.

use std::time::Duration;

use drawbridge_gather::check::ContentTest;
use drawbridge_gather::{CommandOutput, Mount, Symlinks};

use super::*;

const HEAD: &str = r#"state_dir = "/var/lib/drawbridge"
[repository]
password_file = "password"
[stack]
region = "eu-central-1"
start = "a"
session = "b"
report = "c"
"#;

/// A configuration with one source that says this.
fn with(source: &str) -> Result<Config, ConfigError> {
    parse(&format!("{HEAD}[[source]]\nname = \"it\"\n{source}\n"))
}

fn one(source: &str) -> Source {
    with(source).unwrap_or_else(|error| panic!("{source}: {error}")).sources.remove(0)
}

fn refused(source: &str) -> String {
    with(source).expect_err(source).to_string()
}

fn all_refused(cases: &[(&str, &str)]) {
    let mut failures = String::new();
    for (source, part) in cases {
        match with(source) {
            Ok(_) => writeln!(failures, "{source}: passes").unwrap(),
            Err(error) if !error.to_string().contains(part) => writeln!(failures, "{source}: {error}").unwrap(),
            Err(_) => {}
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

fn outputs(source: &Source) -> &[CommandOutput] {
    let What::Commands(outputs) = &source.what else { panic!("{source:?}") };
    outputs
}

fn target(source: &Source) -> &drawbridge_hosts::Target {
    let Place::Ssh(target) = &source.place else { panic!("{source:?}") };
    target
}

#[test]
fn a_source_that_says_everything_is_understood() {
    let source = one(r#"
        host = "dns.lan"
        port = 2222
        user = "backup"
        identity_file = "id"
        known_hosts = "hosts"
        ssh_config = "ssh_config"
        jump = "gate.lan, root@[fd00::1]:22"
        paths = ["/etc/monit.d/**"]
        paths_if_present = ["/srv/*.conf"]
        exclude = ["**/*.bak"]
        symlinks = "follow"
        append = ["/var/spool/**"]
        newest = [{ files = "/var/log/*.gz", keep = 7 }]
        min_files = 3
        min_size = "1 KiB"
        max_vanish = "20%"
        max_age = "3 days"
        max_file_size = "10 MiB"
        max_size = 1000000
        max_entries = 5000
        bandwidth = "5 MiB"
        connect_timeout = "5s"
        silence_timeout = "1 min"
        timeout = "2 h"
        retries = 0
    "#);
    let target = target(&source);
    assert_eq!(target.ssh_config.as_deref(), Some(Path::new("/etc/drawbridge/ssh_config")));
    assert_eq!(target.jump.as_deref().unwrap(), ["gate.lan", "root@[fd00::1]:22"]);
    let files = files(&source);
    assert_eq!(
        (shown(&files.paths), shown(&files.if_present)),
        (vec!["/etc/monit.d/**".into()], vec!["/srv/*.conf".into()])
    );
    assert!(files.exclude.is_match("/a/b.bak") && files.symlinks == Symlinks::Follow);
    assert!(files.append.is_match(Path::new("/var/spool/a/b")) && !files.append.is_match(Path::new("/var/log/a.log")));
    let [newest] = files.newest.as_slice() else { panic!() };
    assert!(newest.keep == 7 && newest.files.is_match("/var/log/a.gz") && !newest.files.is_match("/var/log/a/a.gz"));
    assert_eq!(
        (source.rule.min_files, source.rule.min_bytes, source.rule.max_vanish),
        (Some(3), Some(1024), Some(0.2))
    );
    assert_eq!(source.max_age, Some(Duration::from_secs(3 * 86400)));
    let limits = &source.limits;
    assert_eq!((limits.file_bytes, limits.total_bytes, limits.entries), (10 << 20, 1_000_000, 5000));
    assert_eq!((limits.bandwidth, limits.retries), (Some(5 << 20), 0));
    let times = [limits.connect, limits.silence, limits.time].map(|time| time.as_secs());
    assert_eq!(times, [5, 60, 7200]);
}

#[test]
fn what_the_gather_table_says_goes_for_sources_that_say_nothing() {
    let text = format!(
        "{HEAD}[gather]\nparallel = 2\nbandwidth = \"1 MiB\"\nuser = \"backup\"\nidentity_file = \"id\"\nretries = 5\nmax_age = \"2d\"\n\
         timeout = \"1h\"\n[[source]]\nname = \"a\"\nhost = \"a\"\npaths = [\"/etc\"]\n\
         [[source]]\nname = \"b\"\nhost = \"b\"\nuser = \"root\"\nretries = 1\nmax_age = \"1w\"\npaths = [\"/etc\"]\n\
         [[source]]\nname = \"c\"\npaths = [\"/etc\"]\n"
    );
    let config = parse(&text).unwrap();
    assert_eq!(config.gather, GatherSettings { parallel: 2, bandwidth: Some(1 << 20) });
    let [a, b, c] = config.sources.as_slice() else { panic!() };
    assert_eq!((target(a).user.as_deref(), a.limits.retries), (Some("backup"), 5));
    assert_eq!((target(b).user.as_deref(), b.limits.retries), (Some("root"), 1));
    assert_eq!(target(b).identity_file.as_deref(), Some(Path::new("/etc/drawbridge/id")));
    assert_eq!(b.max_age, Some(Duration::from_secs(7 * 86400)));
    // A source on this machine has nobody to log in as, and minds nothing of it.
    assert_eq!((c.limits.time.as_secs(), c.max_age.unwrap().as_secs()), (3600, 2 * 86400));
    // The bandwidth is for all together and limits none by itself.
    assert_eq!(a.limits.bandwidth, None);
    for (line, part) in [
        ("parallel = 33", "between 1 and 32"),
        ("parallel = 0", "1 and 32"),
        ("retries = 11", "0 and 10"),
        ("timeout = \"1 month\"", "no months"),
        ("user = \"a b\"", "spaces"),
        ("max_size = 1", "unknown field"),
    ] {
        let error =
            parse(&format!("{HEAD}[gather]\n{line}\n[[source]]\nname = \"c\"\npaths = [\"/etc\"]\n")).unwrap_err();
        assert!(error.to_string().contains(part) && error.to_string().contains("line 10"), "{error}");
    }
}

#[test]
fn what_is_logged_is_appended_to_unless_it_is_compressed_or_written_elsewhere() {
    let source = one("paths = [\"/etc\"]");
    let grows = |path: &str| files(&source).append.is_match(Path::new(path));
    for path in ["/srv/app.log", "/var/log/messages", "/var/log/dns/named", "/srv/logs/a/b", "/var/log/auth.log"] {
        assert!(grows(path), "{path}");
    }
    for path in [
        "/var/log/a.log.1.gz",
        "/var/log/a.xz",
        "/srv/a.conf",
        "/var/log/lastlog",
        "/var/log/journal/1/system.journal",
        "/var/log/sa.zip",
        "/var/logger/x",
        "/logs",
        "/var/log/state.db",
    ] {
        assert!(!grows(path), "{path}");
    }
    let none = one("paths = [\"/etc\"]\nappend = []");
    assert!(!files(&none).append.is_match(Path::new("/var/log/messages")));
}

#[test]
fn sizes_times_and_shares_have_units_and_bounds() {
    let path = "paths = [\"/etc\"]\n";
    for (written, bytes) in
        [("\"10 KiB\"", 10 << 10), ("\"1 GiB\"", 1 << 30), ("\"1.5MB\"", 1_500_000), ("7", 7), ("\"7\"", 7)]
    {
        assert_eq!(one(&format!("{path}max_size = {written}")).limits.total_bytes, bytes, "{written}");
    }
    for (written, seconds) in
        [("30s", 30), ("2 h", 7200), ("3 days", 259_200), ("1w", 604_800), ("1h 30m", 5400), ("PT5M", 300)]
    {
        assert_eq!(one(&format!("{path}max_age = \"{written}\"")).max_age.unwrap().as_secs(), seconds, "{written}");
    }
    for bad in ["\"ten\"", "0", "-1", "\"\"", "\"-1 KiB\"", "\"0\""] {
        assert!(refused(&format!("{path}max_size = {bad}")).contains("such as \"10 KiB\""), "{bad}");
    }
    assert!(refused(&format!("{path}max_size = 1.5")).contains("a size such as"));
    for bad in ["", "3", "0s", "-1h", "1 month", "2 years", "3 fortnights", "100000 weeks"] {
        assert!(refused(&format!("{path}max_age = \"{bad}\"")).contains("such as \"30s\""), "{bad}");
    }
    for bad in ["20", "101%", "-1%", "%", "NaN%", "inf%", "1e1%"] {
        assert!(refused(&format!("{path}max_vanish = \"{bad}\"")).contains("such as \"20%\""), "{bad}");
    }
    assert_eq!(one(&format!("{path}max_vanish = \"100 %\"")).rule.max_vanish, Some(1.0));
}

#[test]
fn mistakes_in_places_are_refused() {
    let ssh = |line: &str| format!("host = \"a\"\npaths = [\"/etc\"]\n{line}");
    let cases = [
        (ssh("port = 65536"), "between 1 and 65535"),
        (ssh("jump = []"), "1 to 8 hosts"),
        (ssh("jump = \"a,b,c,d,e,f,g,h,i\""), "1 to 8 hosts"),
        (ssh("jump = \"a,,b\""), "jump must not be empty"),
        (ssh("jump = [\"-oProxyCommand=x\"]"), "begin with a hyphen"),
        (ssh("jump = \"user@-oX\""), "is not [user@]host[:port]"),
        (ssh("jump = \"a:0\""), "is not [user@]host[:port]"),
        (ssh("jump = \"a:99999\""), "is not [user@]host[:port]"),
        (ssh("require_mount = true"), "this machine"),
        ("paths = [\"/etc\"]\njump = \"a\"".to_owned(), "add host"),
        ("paths = [\"/etc\"]\nconnect_timeout = \"5s\"".to_owned(), "add host"),
        ("paths = [\"/etc\"]\nrequire_mount = \"mnt\"".to_owned(), "absolute folder"),
        ("paths = [\"/etc\"]\nrequire_mount = \"/\"".to_owned(), "absolute folder"),
        ("paths = [\"/etc\"]\nrequire_mount = 1".to_owned(), "true, a folder"),
        ("paths = [\"/*/config\"]\nrequire_mount = true".to_owned(), "begins with a glob"),
    ];
    all_refused(&cases.iter().map(|(source, part)| (source.as_str(), *part)).collect::<Vec<_>>());
    for good in ["a", "a.lan:22", "root@a", "root@a:2222", "fd00::1", "[fd00::1]:22", "u@[fd00::1]"] {
        one(&ssh(&format!("jump = [\"{good}\"]")));
    }
    one(&ssh("jump = \"a,b,c,d,e,f,g,h\""));
}

#[test]
fn a_mount_that_is_required_is_the_paths_own_or_the_one_named() {
    let mounts = |line: &str| {
        let source = one(&format!("paths = [\"/mnt/ad/*.xml\", \"/mnt/ad/a/\"]\n{line}"));
        let Place::Local { require_mount } = source.place else { panic!() };
        require_mount
    };
    let (at, over) = (|path: &str| Mount::At(path.into()), |path: &str| Mount::Over(path.into()));
    assert_eq!(mounts("require_mount = true"), [over("/mnt/ad"), over("/mnt/ad/a")]);
    assert_eq!(mounts("require_mount = \"/mnt/ad/\""), [at("/mnt/ad")]);
    assert_eq!(mounts("require_mount = [\"/mnt/ad\", \"/mnt/b\"]"), [at("/mnt/ad"), at("/mnt/b")]);
    assert!(mounts("require_mount = false").is_empty() && mounts("").is_empty());
}

#[test]
fn commands_are_understood_and_their_checks_find_their_files() {
    let source = one(r#"
        host = "fw"
        [[source.command]]
        run = "pfctl -sr"
        file = "pf.txt"
        [[source.command]]
        run = "cat state | jq ."
        file = "state.json"
        [[source.check]]
        min_size = 10
        [[source.check]]
        files = "*.json"
        format = "json"
    "#);
    let [rules, state] = outputs(&source) else { panic!() };
    assert_eq!((rules.run.as_str(), rules.file.as_str()), ("pfctl -sr", "pf.txt"));
    assert_eq!((rules.checks.len(), state.checks.len()), (1, 2));
    assert!(rules.checks.iter().all(|rule| rule.concerns(Path::new("/pf.txt"))));
}

#[test]
fn mistakes_in_commands_are_refused() {
    let command = |file: &str| format!("[[source.command]]\nrun = \"x\"\nfile = \"{file}\"\n");
    for bad in ["", ".", "..", ".hidden", "a/b", "/a", "a\\nb", "a\\u0000"] {
        assert!(refused(&command(bad)).contains("plain name"), "{bad}");
    }
    let longest = "n".repeat(200);
    one(&command(&longest));
    assert!(refused(&command(&format!("{longest}n"))).contains("at most 200 bytes"));
    let twice = command("a.txt") + &command("A.TXT");
    let astray = command("a") + "[[source.check]]\nfiles = \"b\"\nmin_size = 1\n";
    all_refused(&[
        (&twice, "two commands write"),
        (&astray, "none of the commands' files"),
        ("[[source.command]]\nrun = \" \"\nfile = \"a\"", "run is empty"),
        ("[[source.command]]\nrun = \"x\"", "missing field `file`"),
        ("paths = [\"/etc\"]\n[[source.command]]\nrun = \"x\"\nfile = \"a\"", "make two sources"),
        ("preset = \"monit\"\n[[source.command]]\nrun = \"x\"\nfile = \"a\"", "make two sources"),
        ("newest = []\n[[source.command]]\nrun = \"x\"\nfile = \"a\"", "make two sources"),
    ]);
}

#[test]
fn mistakes_in_checks_are_refused() {
    let check = |lines: &str| format!("paths = [\"/etc\"]\n[[source.check]]\n{lines}");
    let on = |line: &str| check(&format!("files = \"/etc/*\"\n{line}"));
    let cases = [
        (check("min_size = 1"), "for which files"),
        (check("files = []\nmin_size = 1"), "for which files"),
        (check("files = \"a.xml\"\nmin_size = 1"), "\"**/a.xml\""),
        (on(""), "checks nothing"),
        (on("format = \"ini\""), "must be \"xml\""),
        (on("format = \"json\"\nxml_root = \"a\""), "xml_root belongs"),
        (on("xml_root = \"<a>\""), "name alone"),
        (on("matches = \"(\""), "no regular expression"),
        (on("matches = \"(a{100}){500}\""), "no regular expression"),
        (on("command = []"), "command is empty"),
        (on("command = [\"true\"]"), "never see the file"),
        (on("command = [\"{file}\"]"), "begin with the program"),
        (on("command = \"dnsmasq --test\""), "invalid type"),
        (on("mtches = \"a\""), "unknown field"),
    ];
    all_refused(&cases.iter().map(|(source, part)| (source.as_str(), *part)).collect::<Vec<_>>());
}

#[test]
fn a_check_may_hold_several_tests() {
    let source = one(
        "paths = [\"/etc\"]\n[[source.check]]\nfiles = [\"/etc/*.xml\", \"**/b\"]\nmin_size = \"1 KiB\"\nxml_root = \"r\"\n\
         matches = \"(?m)^a\"\ncommand = [\"check\", \"--in={file}\"]\n",
    );
    let [rule] = files(&source).checks.as_slice() else { panic!() };
    assert!(
        rule.concerns(Path::new("/etc/a.xml"))
            && rule.concerns(Path::new("/x/b"))
            && !rule.concerns(Path::new("/etc/c"))
    );
    let [
        ContentTest::MinBytes(1024),
        ContentTest::Xml { root: Some(root) },
        ContentTest::Matches(_),
        ContentTest::Command(argv),
    ] = rule.tests.as_slice()
    else {
        panic!("{rule:?}")
    };
    assert_eq!((root.as_str(), argv.len()), ("r", 2));
}

#[test]
fn mistakes_in_files_are_refused() {
    all_refused(&[
        ("", "has no paths"),
        ("paths_if_present = []", "has no paths"),
        ("paths = [\"/**\"]", "/proc"),
        ("paths = [\"/etc/[\"]", "glob"),
        ("paths = [\"/etc\"]\nexclude = [\"*.bak\"]", "\"**/*.bak\""),
        ("paths = [\"/etc\"]\nsymlinks = \"yes\"", "\"keep\" or \"follow\""),
        ("paths = [\"/etc\"]\nnewest = [{ files = \"/a\", keep = 0 }]", "between 1 and"),
        ("paths = [\"/etc\"]\nnewest = [{ files = \"/a\", keep = 100001 }]", "and 100000"),
        ("paths = [\"/etc\"]\nmin_files = 0", "between 1 and"),
        ("paths = [\"/etc\"]\nmax_entries = 100000001", "and 100000000"),
        ("paths = [\"/etc\"]\nretries = 11", "between 0 and 10"),
        ("paths = [\"/etc\"]\nappend = true", "invalid type"),
        ("preset = \"pfsense\"", "there are \"opnsense\", \"dnsmasq\""),
        ("preset = [\"monit\", \"monit\"]", "named twice"),
        ("preset = 1", "a text in quotes"),
        ("preset = \"monit\"\n[[source.newest]]\nfiles = \"/a\"\nkeep = 1\nkep = 2", "unknown field"),
    ]);
}

#[test]
fn a_glob_that_reaches_the_state_folder_is_refused_unless_it_is_left_out() {
    for path in ["/**/*.log", "/var/*", "/var/lib/*/mirror", "/var/lib/draw*"] {
        assert!(refused(&format!("paths = [\"{path}\"]")).contains("into itself"), "{path}");
        one(&format!("paths = [\"{path}\"]\nexclude = [\"/var/lib/drawbridge\"]"));
        one(&format!("host = \"a\"\npaths = [\"{path}\"]"));
    }
    assert!(refused("paths_if_present = [\"/var/lib/drawbridge/**\"]").contains("lies within state_dir"));
}

#[test]
fn every_preset_is_understood_and_adds_to_what_the_source_says() {
    for preset in super::preset::ALL {
        // What each brings of a host is shown by tests/network.rs.
        one(&format!("host = \"a\"\npreset = \"{}\"", preset.name));
    }
    let source = one("host = \"a\"\npreset = [\"dnsmasq\", \"monit\"]\npaths = [\"/srv\"]\nexclude = [\"/srv/tmp\"]\n\
         [[source.check]]\nfiles = \"/srv/*\"\nmin_size = 1\n");
    let files = files(&source);
    assert_eq!(shown(&files.paths), ["/srv"]);
    assert!(shown(&files.if_present).contains(&"/etc/monit/**".to_owned()));
    assert!(files.exclude.is_match("/srv/tmp") && files.exclude.is_match("/etc/dnsmasq.d/a.conf~"));
    assert_eq!((files.checks.len(), source.rule.min_files), (3, Some(3)));
    assert_eq!(one("host = \"a\"\npreset = \"dnsmasq\"\nmin_files = 9").rule.min_files, Some(9));
}

#[test]
fn the_opnsense_preset_wants_the_configuration_whole_and_of_its_history_the_newest() {
    let source = one("host = \"fw\"\npreset = \"opnsense\"");
    let files = files(&source);
    assert_eq!(shown(&files.paths), ["/conf/config.xml"]);
    let [rule] = files.checks.as_slice() else { panic!() };
    assert!(rule.concerns(Path::new("/conf/config.xml")) && !rule.concerns(Path::new("/conf/backup/config-1.xml")));
    assert!(rule.tests.iter().any(|test| matches!(test, ContentTest::Xml { root: Some(root) } if root == "opnsense")));
    let [newest] = files.newest.as_slice() else { panic!() };
    assert!(newest.keep == 30 && newest.files.is_match("/conf/backup/config-1719.42.xml"));
}
