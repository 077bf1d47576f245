//! Secrets that are known by their own shape, wherever they stand: private keys in PEM, password hashes, tokens of the large services,
//! passwords in URLs and on command lines, `Authorization` headers.

use std::sync::LazyLock;

use regex::Regex;

use super::{Spans, head, value};

/// How far into a URL its login may reach, in bytes: no program takes longer ones.
const MAX_LOGIN_BYTES: usize = 2048;

/// Where a block of text begins that nobody may see; it ends at the next `-----END`.
const BLOCK: &str = r"-{4,5} ?BEGIN [A-Za-z0-9 ]*(?:PRIVATE KEY|Static key)[A-Za-z0-9 ]*-{4,5}";

/// Expressions whose group `s`, or all of whose match, is a secret.
const SHAPES: &[&str] = &[
    // crypt(5) and what web servers and frameworks add to it. The cost and the salt go with the hash.
    r"\$(?:1|2[abxy]?|3|5|6|7|8|9|14|y|gy|md5|sha1|apr1|argon2(?:id|i|d)|scrypt|bcrypt|bcrypt-sha256|pbkdf2[a-z0-9-]*|pbkdf2|P|H|S|T|ml)\$[^\s:;,'\x22<>]{6,}",
    r"\{(?i:SSHA|SHA|SMD5|MD5|CRYPT|SSHA\d+|SHA\d+|PBKDF2[A-Z0-9-]*|PLAIN|CLEARTEXT|BLF-CRYPT|ARGON2[A-Z]*)[^}\s]{0,8}\}[^\s'\x22<>]{1,}",
    r"SCRAM-SHA-\d+\$[^\s'\x22]+",
    r"\b(?:pbkdf2|scrypt|argon2|bcrypt)[:_][a-z0-9:_]*\$[^\s'\x22<>]+",
    // A PEM file in base64, as OPNsense keeps keys and certificates.
    r"LS0tLS1CRUdJTi[A-Za-z0-9+/=]+",
    // Tokens that say whose they are.
    r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}\b",
    r"\b(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}|glpat-[A-Za-z0-9_-]{16,}|xox[a-z]-[A-Za-z0-9-]{8,}|(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{8,}|AIza[A-Za-z0-9_-]{30,}|SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}|hv[sb]\.[A-Za-z0-9_-]{16,}|tskey-[A-Za-z0-9-]{8,}|AGE-SECRET-KEY-1[A-Z0-9]{16,}|dop_v1_[a-f0-9]{32,}|npm_[A-Za-z0-9]{30,}|sk-[A-Za-z0-9_-]{20,}|ya29\.[A-Za-z0-9_-]{20,})",
    r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*",
    r"\b\d{8,10}:[A-Za-z0-9_-]{35}\b",
    r"(?:hooks\.slack\.com/services|discord(?:app)?\.com/api/webhooks|outlook\.office\.com/webhook)/(?P<s>[^\s'\x22<>]+)",
    // Headers.
    r"(?i)\b(?:proxy-)?authorization(?:[\x22']?[ \t]*[:=,][ \t]*|[ \t]+[\x22'])[\x22']?(?:(?:basic|bearer|digest|token|apikey|negotiate|ntlm)[ \t]+)?(?P<s>[^\x22'\n]*)",
    r"(?im)\b(?:set-)?cookie\s*:\s*(?P<s>[^\n\x22']+)",
    // Command lines: curl, mysql, sshpass, openssl, smbclient; monit's own web server.
    r"(?:^|\s)(?:-u|--user|--proxy-user|-U)[ =]?[\x22']?[^\s:/\x22']+:(?P<s>[^\s\x22']+)",
    r"\b(?:mysql|mysqldump|mariadb|mariadb-dump|mysqladmin)\b[^\n]*?\s-p(?P<s>[^\s]+)",
    r"\bsshpass\s+-p\s*(?P<s>[^\s]+)",
    r"-(?:pass|passin|passout)\s+pass:(?P<s>[^\s]+)",
    r"-U\s*[\x22']?[^\s%\x22']+%(?P<s>[^\s\x22']+)",
    r"(?m)^\s*allow\s+[\x22']?[^\s:\x22'/]*[^\s:\x22'/0-9.][^\s:\x22'/]*[\x22']?:(?P<s>[^\n]+)",
    // SNMP and routers, where a secret's name stands some words before it.
    r"(?im)^\s*(?:com2sec6?)\s+(?:-Cn\s+\S+\s+)?\S+\s+\S+\s+(?P<s>[^\n]+)",
    r"(?im)^\s*(?:trapsink|trap2sink|informsink)\s+\S+\s+(?P<s>[^\n]+)",
    r"(?im)^\s*(?:createuser|usmuser)\s+(?:-e\s+\S+\s+)?\S+\s+(?P<s>[^\n]+)",
    r"(?im)\bsnmp-server\s+(?:host|user)\s+\S+\s+(?P<s>[^\n]+)",
    r"(?im)\b(?:message-digest-key|key-string|authentication-key|tacacs-server\s+key|radius-server\s+key|ascii-text|cryptographic-key)\s+(?P<s>[^\n]+)",
    // rsyslog's old form of a database's login: server, database, user, password.
    r"(?m):om(?:mysql|pgsql):[^,\n]*,[^,\n]*,[^,\n]*,(?P<s>[^;\n]+)",
];

static BLOCKS: LazyLock<Vec<Regex>> = LazyLock::new(|| compiled(&[BLOCK]));
static KNOWN: LazyLock<Vec<Regex>> = LazyLock::new(|| compiled(SHAPES));
static BEARER: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    compiled(&[r"(?i)\b(?:bearer|basic)\s+(?P<s>[A-Za-z0-9+/_=.~-]{8,})", r"(?i)\bPrivate-Lines:\s*(?P<s>\d+)"])
});

/// The expressions are constants; a test holds that each is valid.
fn compiled(expressions: &[&str]) -> Vec<Regex> {
    expressions.iter().filter_map(|expression| Regex::new(expression).ok()).collect()
}

/// Adds what has a known shape in `text` to `spans`.
pub(super) fn find(text: &str, spans: &mut Spans) {
    blocks(text, spans);
    for shape in KNOWN.iter() {
        for found in shape.captures_iter(text) {
            if let Some(secret) = found.name("s").or_else(|| found.get(0)) {
                spans.push(secret.range());
            }
        }
    }
    if let [bearer, putty] = BEARER.as_slice() {
        let tokens = bearer.captures_iter(text).filter_map(|found| found.name("s"));
        spans.extend(tokens.filter(|token| value::is_opaque(token.as_str())).map(|token| token.range()));
        let mut over = 0;
        for found in putty.captures_iter(text).filter_map(|found| found.name("s")) {
            if found.start() >= over {
                over = putty_key(text, found.end(), found.as_str(), spans);
            }
        }
    }
    urls(text, spans);
}

fn blocks(text: &str, spans: &mut Spans) {
    let mut over = 0;
    for begin in BLOCKS.iter().flat_map(|block| block.find_iter(text)) {
        if begin.start() < over {
            continue;
        }
        let rest = text.get(begin.end()..).unwrap_or_default();
        // A block that isn't closed reaches to the end of the file.
        let end = [rest.find("-----END"), rest.find("---- END")].into_iter().flatten().min().unwrap_or(rest.len());
        over = begin.end() + end;
        spans.push(begin.end()..over);
    }
}

/// PuTTY's private keys: so many lines follow. Returns where they end.
fn putty_key(text: &str, at: usize, count: &str, spans: &mut Spans) -> usize {
    let count = count.parse::<usize>().unwrap_or(usize::MAX);
    let rest = text.get(at..).unwrap_or_default();
    let length: usize = rest.split_inclusive('\n').take(count.saturating_add(1)).map(str::len).sum();
    spans.push(at..at + length);
    at + length
}

/// `scheme://user:password@host`, and a token in the user's place.
fn urls(text: &str, spans: &mut Spans) {
    for (at, _) in text.match_indices("://") {
        let begin = at + 3;
        let rest = head(text.get(begin..).unwrap_or_default(), MAX_LOGIN_BYTES);
        let end = rest.find(|c: char| c.is_whitespace() || matches!(c, '"' | '<' | '>' | '`')).unwrap_or(rest.len());
        let url = rest.get(..end).unwrap_or_default();
        let authority = url.find(['/', '?', '#']).unwrap_or(url.len());
        let login = url.get(..authority).and_then(|authority| authority.rfind('@'));
        let colon = url.find(':').filter(|colon| *colon < authority);
        match (login, colon) {
            (Some(at), Some(colon)) if colon < at => spans.push(begin + colon + 1..begin + at),
            (Some(at), _) if url.get(..at).is_some_and(value::is_opaque) => spans.push(begin..begin + at),
            (None, Some(colon)) => {
                // What is no port before the slash is a password that has one.
                let port = url.get(colon + 1..authority).unwrap_or_default();
                if let (false, Some(at)) = (port.chars().all(|c| c.is_ascii_digit()), url.rfind('@')) {
                    spans.push(begin + colon + 1..begin + at);
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_is_a_valid_expression() {
        assert_eq!((BLOCKS.len(), KNOWN.len(), BEARER.len()), (1, SHAPES.len(), 2));
    }
}
