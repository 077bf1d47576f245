#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
use std::fs;

use tempfile::TempDir;

use super::*;

struct Site {
    dir: TempDir,
    here: Here,
}

impl Site {
    fn new(config: &str) -> Self {
        let dir = TempDir::new().unwrap();
        let here = Here::somebody(dir.path());
        fs::write(dir.path().join("config"), config).unwrap();
        Self { dir, here }
    }

    fn target(&self, host: &str) -> Target {
        Target { ssh_config: Some(self.dir.path().join("config")), ..Target::named(host) }
    }

    fn resolve(&self, host: &str) -> Resolved {
        resolve_here(&self.target(host), &self.here).unwrap()
    }

    fn home(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }
}

#[test]
fn without_any_configuration_a_host_is_what_it_is_called() {
    let site = Site::new("");
    let resolved = site.resolve("DNS.lan");
    assert_eq!(resolved.to_string(), "somebody@DNS.lan port 22");
    assert_eq!((&*resolved.known_as, resolved.also_known_as), ("dns.lan", None));
    let defaults = ["id_ed25519", "id_ecdsa", "id_rsa"].map(|name| site.home(".ssh").join(name)).to_vec();
    assert_eq!(resolved.identities, Identities::Default(defaults));
    assert_eq!(resolved.known_hosts[0], site.home(".ssh/known_hosts"));
    assert_eq!(resolved.known_hosts.len(), 4);
    assert_eq!(resolved.agent, None);
}

#[test]
fn explicit_values_beat_the_configuration() {
    let site = Site::new(
        "HostName h.lan\nUser c\nPort 1\nIdentityFile ~/c\nUserKnownHostsFile ~/c\nProxyJump jump\nHost jump\nHostName j.lan\n",
    );
    let target = Target {
        port: Some(2),
        user: Some("t".to_owned()),
        identity_file: Some("/t".into()),
        known_hosts: Some("/kh".into()),
        jump: Some(Vec::new()),
        ..site.target("a")
    };
    let resolved = resolve_here(&target, &site.here).unwrap();
    assert_eq!(resolved.to_string(), "t@h.lan port 2");
    assert_eq!(resolved.identities, Identities::Only("/t".into()));
    assert_eq!(resolved.known_hosts, [PathBuf::from("/kh")]);
}

#[test]
fn tokens_and_variables_are_filled_in() {
    let mut site = Site::new(
        "HostName h.lan\nPort 7\nUser r\nIdentityFile ~/%h_%r_%n_%p_%u_%i_%%\nIdentityFile %d/${WHERE}/x\nIdentityFile none\n",
    );
    site.here.environment.insert("WHERE".to_owned(), "there".to_owned());
    let Identities::Configured(files) = site.resolve("n").identities else { panic!("not configured") };
    assert_eq!(files, [site.home("h.lan_r_n_7_somebody_1000_%"), site.home("there/x")]);
    for (text, problem) in [
        ("%C", "has %C, which is not supported"),
        ("${NO}", "variable NO, which is not set"),
        ("${NO", "without }"),
        ("a%", "has %,"),
    ] {
        let site = Site::new(&format!("IdentityFile {text}\n"));
        let error = resolve_here(&site.target("n"), &site.here).unwrap_err().to_string();
        assert!(error.contains(problem), "{text}: {error}");
    }
}

#[test]
fn the_agent_is_the_environments_or_the_configured_one_or_none() {
    for (config, expected) in [
        ("", Some("/env")),
        ("IdentityAgent SSH_AUTH_SOCK", Some("/env")),
        ("IdentityAgent none", None),
        ("IdentityAgent $OTHER", Some("/other")),
        ("IdentityAgent ${OTHER}/x", Some("/other/x")),
        ("IdentityAgent /s/%u", Some("/s/somebody")),
    ] {
        let mut site = Site::new(config);
        site.here
            .environment
            .extend([("SSH_AUTH_SOCK", "/env"), ("OTHER", "/other")].map(|(k, v)| (k.to_owned(), v.to_owned())));
        assert_eq!(site.resolve("a").agent.as_deref(), expected.map(Path::new), "{config}");
    }
}

#[test]
fn a_host_on_another_port_is_known_by_name_and_port_and_an_alias_by_itself() {
    let site = Site::new("Host alias\nHostKeyAlias Other\nPort 9\n");
    let target = Target { port: Some(2222), ..site.target("A.lan") };
    let resolved = resolve_here(&target, &site.here).unwrap();
    assert_eq!((&*resolved.known_as, resolved.also_known_as.as_deref()), ("[a.lan]:2222", Some("a.lan")));
    let resolved = site.resolve("alias");
    assert_eq!((&*resolved.known_as, resolved.also_known_as), ("Other", None));
}

#[test]
fn jumps_are_resolved_each_by_itself() {
    let site = Site::new(
        "Host a\nProxyJump x@one:2,two\nHost one\nHostName one.lan\nProxyJump zero\nHost two\nUser two\nIdentityFile /two\nProxyJump never\nHost zero\nPort 3\n",
    );
    let target = Target { identity_file: Some("/t".into()), known_hosts: Some("/kh".into()), ..site.target("a") };
    let resolved = resolve_here(&target, &site.here).unwrap();
    assert_eq!(resolved.to_string(), "somebody@a port 22 via [zero]:3, [one.lan]:2, two");
    let jumps = &resolved.jumps;
    assert_eq!(jumps[1].user, "x");
    assert_eq!(jumps[1].identities, Identities::Only("/t".into()), "the target's, since nothing else is named");
    assert_eq!(jumps[2].identities, Identities::Configured(vec!["/two".into()]));
    assert!(jumps.iter().all(|jump| jump.known_hosts == [PathBuf::from("/kh")] && jump.jumps.is_empty()));
}

#[test]
fn explicit_jumps_replace_the_configured_ones() {
    let site = Site::new("Host a\nProxyJump x\n");
    let target = Target { jump: Some(vec!["u@y:5".to_owned(), "z".to_owned()]), ..site.target("a") };
    assert_eq!(resolve_here(&target, &site.here).unwrap().to_string(), "somebody@a port 22 via [y]:5, z");
    let target = Target { jump: Some(vec!["y:x".to_owned()]), ..site.target("a") };
    assert!(matches!(resolve_here(&target, &site.here), Err(ConfigError::Jump { .. })));
}

#[test]
fn a_circle_of_jumps_ends_in_an_error_that_shows_it() {
    let site = Site::new("Host a\nProxyJump b\nHost b\nProxyJump a\n");
    let error = resolve_here(&site.target("a"), &site.here).unwrap_err().to_string();
    assert!(error.contains("more than 8 jump hosts, or goes in a circle: a via b via a via b"), "{error}");
    let chain =
        |length: usize| -> String { (0..length).map(|n| format!("Host h{n}\nProxyJump h{}\n", n + 1)).collect() };
    assert_eq!(Site::new(&chain(MAX_JUMPS)).resolve("h0").jumps.len(), MAX_JUMPS);
    let site = Site::new(&chain(MAX_JUMPS + 1));
    assert!(resolve_here(&site.target("h0"), &site.here).is_err());
}
