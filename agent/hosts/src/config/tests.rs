#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use drawbridge_peers::need;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

/// What OpenSSH itself makes of a file: the settings that we honour, as `ssh -G` prints them.
fn openssh(file: &Path, host: &str, options: &[&str]) -> BTreeMap<String, Vec<String>> {
    let output =
        Command::new(need("ssh", "openssh-client")).args(options).arg("-GF").arg(file).arg(host).output().unwrap();
    assert!(output.status.success(), "{output:?}\n{}", fs::read_to_string(file).unwrap());
    let mut settings = BTreeMap::<String, Vec<String>>::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let (keyword, value) = line.split_once(' ').unwrap_or((line, ""));
        settings.entry(keyword.to_owned()).or_default().push(value.to_owned());
    }
    settings
}

/// The same in the same form, of ours.
fn ours(file: &Path, host: &str) -> BTreeMap<String, Vec<String>> {
    let target = crate::Target { ssh_config: Some(file.to_owned()), ..crate::Target::named(host) };
    let here = Here::real();
    let settings = read(Some(file), host, Settings::default(), &here).unwrap();
    let resolved = crate::resolve::resolve_here(&crate::Target { jump: Some(Vec::new()), ..target }, &here).unwrap();
    let files = resolved.known_hosts.iter().map(|file| file.display().to_string()).collect::<Vec<_>>();
    let mut printed = BTreeMap::new();
    let mut print = |keyword: &str, value: Vec<String>| {
        if !value.is_empty() {
            printed.insert(keyword.to_owned(), value);
        }
    };
    print("hostname", vec![resolved.host.clone()]);
    print("user", vec![resolved.user.clone()]);
    print("port", vec![resolved.port.to_string()]);
    print("identityfile", settings.identity_files.clone());
    print("identitiesonly", vec![if resolved.identities_only { "yes" } else { "no" }.to_owned()]);
    print("hashknownhosts", vec![if resolved.hash_known_hosts { "yes" } else { "no" }.to_owned()]);
    print("hostkeyalias", settings.host_key_alias.clone().into_iter().collect());
    print("known hosts", vec![files.join(" ")]);
    let route = match settings.route {
        Some(Route::Jumps(jumps)) => vec![jumps.join(",")],
        _ => Vec::new(),
    };
    print("proxyjump", route);
    printed
}

fn assert_as_openssh(text: &str, host: &str) {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("config");
    fs::write(&file, text.replace("DIR", dir.path().to_str().unwrap())).unwrap();
    fs::write(dir.path().join("a.conf"), "Host b\n User from-a\nHost *\n Port 1001\n").unwrap();
    fs::write(dir.path().join("b.conf"), "User from-b\nPort 1002\nMatch host nothing\n").unwrap();
    let mut theirs = openssh(&file, host, &[]);
    let user = theirs.remove("userknownhostsfile").unwrap_or_default().join(" ");
    let global = theirs.remove("globalknownhostsfile").unwrap_or_default().join(" ");
    let files = [user, global].into_iter().filter(|files| !files.is_empty() && files != "none").collect::<Vec<_>>();
    theirs.insert("known hosts".to_owned(), vec![files.join(" ")]);
    let ours = ours(&file, host);
    theirs.retain(|keyword, _| {
        let kept = [
            "hostname",
            "user",
            "port",
            "identitiesonly",
            "hashknownhosts",
            "hostkeyalias",
            "known hosts",
            "proxyjump",
        ];
        // Without any it prints the default files, of which we know fewer.
        kept.contains(&keyword.as_str()) || keyword == "identityfile" && ours.contains_key("identityfile")
    });
    assert_eq!(ours, theirs, "host {host}, file:\n{text}");
}

#[test]
fn what_a_file_says_is_what_openssh_says() {
    for text in [
        "",
        "Host a\n  HostName a.lan\n  Port 2222\n  User root\nHost *\n  User other\n  Port 22\n",
        "User first\nHost *\nUser second",
        "Host * !a\n User all\nHost !b\n User never\nHost a b ?\n Port 7\n",
        "Host A\n User upper\nHost a*\n HostName %h.%h.lan%%\n",
        "host=a\nHOSTNAME = \"x.lan\"\nUser='a b'\nIdentityFile \"~/my keys/%h\" # comment\nIdentityFile ~/second\n",
        "IdentityFile ~/a\nIdentityFile ~/a\nIdentityFile none\nIdentitiesOnly yes\nHost a\n IdentityFile /b\nIdentitiesOnly no\n",
        "UserKnownHostsFile ~/one %d/two\nGlobalKnownHostsFile /etc/x /etc/y\nUserKnownHostsFile /z\nHashKnownHosts yes\n",
        "UserKnownHostsFile none\nHostKeyAlias other\nHostKeyAlias second\n",
        "ProxyJump u@one:22,two\nProxyJump three\n",
        "ProxyJump none\nProxyJump three\n",
        "ProxyCommand none\nProxyJump three\n",
        "Host zzz\nProxyCommand nc %h %p\nHost *\nHostKeyAlias x\n",
        "Match all\n User m\n",
        "Match host a\n User m\nMatch !host a\n User n\n",
        "Match originalhost b,c*,!d\n User m\nMatch user m\n Port 5\n",
        "HostName b.lan\nMatch host b.lan\n User m\nMatch originalhost a host *.lan\n Port 6\n",
        "User x\nMatch user y,x\n Port 8\nMatch localuser nobody\n Port 9\nMatch canonical all\n HostKeyAlias z\n",
        "Include DIR/*.conf\nUser after\n",
        "Host b\n Include DIR/a.conf\n Port 3\n",
        "Host a\n Include DIR/b.conf DIR/missing.conf\n HostKeyAlias still-a\n",
        "Include DIR/b.conf\nHostKeyAlias after-match\n",
        "SendEnv LANG\nServerAliveInterval 5\nCompression yes\nForwardAgent no\nUser u\n",
        "\t Host  a \r\n\tUser  u \r\n",
    ] {
        for host in ["a", "b", "abc"] {
            assert_as_openssh(text, host);
        }
    }
}

/// Lines of every kind, in random order.
fn lines() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        4 => ("[ab*?!]{1,3}", "[ab*?]{1,2}").prop_map(|(one, two)| format!("Host {} {two}", one.replace('!', "!a"))),
        2 => ("(!)?(host|originalhost|user|localuser)", "(!)?[abu*?]{1,2}", "[abu*?]{1,2}").prop_map(|(c, one, two)| format!("Match {c} {one},{two}")),
        1 => Just("Match all".to_owned()),
        2 => "[abu]".prop_map(|user| format!("User {user}")),
        2 => (1..9u16).prop_map(|port| format!("  Port={port}")),
        2 => "[ab]".prop_map(|name| format!("hostname {name}%h")),
        1 => "[ab]".prop_map(|name| format!("IdentityFile ~/\"{name} \" # x")),
        1 => "[ab]".prop_map(|name| format!("UserKnownHostsFile ~/{name} /{name}\\ x")),
        1 => "[ab]".prop_map(|name| format!("HostKeyAlias '{name}'")),
        // No name that a host has: `ssh -G` refuses a jump host that is the host itself.
        1 => "(none|j|k,j|u@k:2)".prop_map(|jump| format!("ProxyJump {jump}")),
        1 => "[ab]".prop_map(|name| format!("Include DIR/{name}.conf")),
        1 => Just("IdentitiesOnly yes".to_owned()),
    ];
    prop::collection::vec(line, 0..12).prop_map(|lines| lines.join("\n"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn any_file_says_what_openssh_says(text in lines(), host in "[abu]{1,2}") {
        assert_as_openssh(&text, &host);
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "[ -~\t\n\"'\\\\=#%!*]{0,200}") {
        let dir = TempDir::new().unwrap();
        let file = dir.path().join("config");
        fs::write(&file, &text).unwrap();
        let _any = read(Some(&file), "a", Settings::default(), &Here::somebody(dir.path()));
    }
}

fn problem(text: &str, host: &str) -> String {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("config");
    fs::write(&file, text.replace("DIR", dir.path().to_str().unwrap())).unwrap();
    read(Some(&file), host, Settings::default(), &Here::somebody(dir.path())).unwrap_err().to_string()
}

#[test]
fn what_cannot_be_honoured_is_named_with_its_line() {
    for (text, expected) in [
        (
            "Host a\n\nProxyCommand nc %h %p",
            "line 3: ProxyCommand is not supported; for a way through another SSH host use ProxyJump",
        ),
        ("Match exec \"true\"\n User x", "line 1: `Match exec` is not supported"),
        ("Match host a final", "line 1: `Match final` is not supported"),
        ("CanonicalizeHostname yes", "line 1: CanonicalizeHostname is not supported"),
        ("Port x", "line 1: Port must be a number"),
        ("Port 0", "line 1: Port must be a number"),
        ("User \"x", "line 1: a quote isn't closed"),
        ("HostName", "line 1: a value is missing"),
        ("IdentitiesOnly perhaps", "line 1: the value must be yes or no"),
        ("Match", "line 1: Match needs at least one criterion"),
        ("Include DIR/config", "line 1: files include files without end"),
        ("Include [a].conf", "line 1: Include knows the wildcards"),
    ] {
        let said = problem(text, "a");
        assert!(said.contains(expected), "{text}: {said}");
    }
}

#[test]
fn what_concerns_another_host_is_no_error() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("config");
    fs::write(&file, "Host b\nProxyCommand x\nMatch host b exec y\nPort x\nMatch exec z !all\n").unwrap();
    let read = read(Some(&file), "a", Settings::default(), &Here::somebody(dir.path())).unwrap();
    assert_eq!(read, Settings::default());
}

#[test]
fn the_users_file_comes_before_the_systems_and_must_be_his_own() {
    let dir = TempDir::new().unwrap();
    let here = Here { system_config: dir.path().join("system"), ..Here::somebody(dir.path()) };
    let read = || read(None, "a", Settings::default(), &here);
    assert_eq!(read().unwrap(), Settings::default());

    fs::create_dir(dir.path().join(".ssh")).unwrap();
    let own = dir.path().join(".ssh/config");
    fs::write(&own, "User own\nInclude more\n").unwrap();
    fs::write(dir.path().join(".ssh/more"), "Port 5\n").unwrap();
    fs::write(&here.system_config, "User system\nHostKeyAlias system\n").unwrap();
    let settings = read().unwrap();
    assert_eq!(settings.user.as_deref(), Some("own"));
    assert_eq!(settings.port, Some(5));
    assert_eq!(settings.host_key_alias.as_deref(), Some("system"));

    fs::set_permissions(&own, fs::Permissions::from_mode(0o666)).unwrap();
    assert!(matches!(read(), Err(ConfigError::OpenToOthers(_))));
}

#[test]
fn a_file_that_was_named_must_be_there() {
    assert!(matches!(
        read(Some(Path::new("/nowhere/config")), "a", Settings::default(), &Here::somebody(Path::new("/nowhere"))),
        Err(ConfigError::Read { .. })
    ));
}
