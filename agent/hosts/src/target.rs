//! What the configuration names.

use std::path::PathBuf;

use thiserror::Error;

/// A machine that is reached over SSH, as the configuration names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its name or address, or a `Host` of the SSH client's configuration.
    pub host: String,
    /// Its port; without one, what the SSH client's configuration says, or 22.
    pub port: Option<u16>,
    /// Who logs in; without, as configured for the SSH client, or the user that runs this program.
    pub user: Option<String>,
    /// The private key that logs in. Without, what the SSH client's configuration says, the SSH agent's keys, the default files.
    /// Jump hosts use it too, unless the SSH client's configuration names another for them.
    pub identity_file: Option<PathBuf>,
    /// The file of trusted host keys. Without, the SSH client's configuration's, or `~/.ssh/known_hosts` and the system's.
    /// With one, it is the only one, for jump hosts as well.
    pub known_hosts: Option<PathBuf>,
    /// The SSH client's configuration. Without, `~/.ssh/config` and `/etc/ssh/ssh_config`.
    pub ssh_config: Option<PathBuf>,
    /// Jump hosts on the way, first one first, each `[user@]host[:port]`. Without, as the SSH client's configuration says.
    pub jump: Option<Vec<String>>,
}

/// A text that is no `[user@]host[:port]`.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{text:?} is not [user@]host[:port] ({why}); an IPv6 address with a port is written [::1]:22")]
pub struct InvalidAddress {
    text: String,
    why: &'static str,
}

impl Target {
    /// The machine that `[user@]host[:port]` names, everything else as the SSH client is configured.
    ///
    /// # Errors
    /// When the text has another form.
    pub fn parse(text: &str) -> Result<Self, InvalidAddress> {
        let wrong = |why| InvalidAddress { text: text.to_owned(), why };
        // The last @, as OpenSSH does: user names may hold one (`user@domain@host`).
        let (user, place) = text.rsplit_once('@').map_or((None, text), |(user, place)| (Some(user), place));
        let (host, port) = split_port(place).map_err(wrong)?;
        if user == Some("") {
            return Err(wrong("the user's name is empty"));
        }
        if host.is_empty() || host.starts_with('-') {
            return Err(wrong("the host's name is empty or begins with a hyphen"));
        }
        if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(wrong("it has blanks or control characters"));
        }
        Ok(Self { user: user.map(str::to_owned), port, ..Self::named(host) })
    }

    pub(crate) fn named(host: &str) -> Self {
        Self {
            host: host.to_owned(),
            port: None,
            user: None,
            identity_file: None,
            known_hosts: None,
            ssh_config: None,
            jump: None,
        }
    }
}

fn split_port(place: &str) -> Result<(&str, Option<u16>), &'static str> {
    let number = |port: &str| match port.parse() {
        Ok(0) | Err(_) => Err("a port is a number from 1 to 65535"),
        Ok(port) => Ok(Some(port)),
    };
    if let Some(rest) = place.strip_prefix('[') {
        let (host, after) = rest.split_once(']').ok_or("a ] is missing")?;
        return match after.strip_prefix(':') {
            Some(port) => Ok((host, number(port)?)),
            None if after.is_empty() => Ok((host, None)),
            None => Err("after ] comes :port or nothing"),
        };
    }
    match place.split_once(':') {
        // More than one colon and no brackets: an IPv6 address.
        Some((_, port)) if port.contains(':') => Ok((place, None)),
        Some((host, port)) => Ok((host, number(port)?)),
        None => Ok((place, None)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn user_host_and_port_are_told_apart() {
        for (text, user, host, port) in [
            ("dns", None, "dns", None),
            ("root@dns:2222", Some("root"), "dns", Some(2222)),
            ("a@b@dns", Some("a@b"), "dns", None),
            ("[::1]:22", None, "::1", Some(22)),
            ("u@[fe80::1]", Some("u"), "fe80::1", None),
            ("2001:db8::1", None, "2001:db8::1", None),
        ] {
            let target = Target::parse(text).unwrap();
            assert_eq!((target.user.as_deref(), &*target.host, target.port), (user, host, port), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in ["", "@dns", "dns:", "dns:0", "dns:65536", "dns:x", "[::1", "[::1]x", "a b", "a\nb", "-oX", "u@-x"]
        {
            assert!(Target::parse(text).is_err(), "{text}");
        }
    }
}
