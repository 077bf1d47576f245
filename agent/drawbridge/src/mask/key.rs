//! Whether the name of a setting says that its value is a secret.

/// What a name says about its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    /// It is a secret, whatever it looks like.
    Secret,
    /// It is one if it looks like one: `key = ctrl-a` isn't, `key = 9f86d081884c7d65` is.
    Perhaps,
    /// It is none.
    Plain,
}

/// Words that make a name that of a secret, wherever they stand in it. Also with a plural s.
const NOUNS: &str = "password passwd passphrase passcode pass pwd pw secret token psk credential community apikey passwort \
    kennwort contrasena wachtwoord motdepasse prv privkey pin otp passwordagain";

/// Ends of words that are written together: `dbpass`, `ldap_bindpw`, `requirepass`, `rocommunity`.
const ENDS: &str = "password passwd passphrase passcode pass pwd pw secret token psk community apikey privatekey privkey \
    presharedkey secretkey accesskey sharedkey authkey otpseed masterauth passwort sharedsecret authtoken \
    encryptionkey domainkey credential prvkey";

/// Words that end like one of [`ENDS`] and mean something else.
const NOT_ENDS: &str = "nopasswd nopass bypass compass encompass trespass overpass underpass";

/// What makes a `..._key` a secret one.
const KEY_KINDS: &str = "api private secret access shared preshared auth authentication encryption master signing account wep wpa \
    tsig rndc session cipher hmac crypt deploy license licence storage recovery unlock app application \
    consumer admin write integration service server client radius tacacs digest md5 ipsec domain dns \
    decryption vault root tls join tunnel";

/// Last words of names that speak *about* a secret: where it lies, how long it must be, when it ends.
const ABOUT: &str = "file files filename path paths dir directory timeout ttl age length len min max minimum maximum policy \
    authentication type algorithm algorithms alg encryption expiry expires expiration expire lifetime retries \
    attempts prompt enabled enable required require quality history count size format name method methods \
    mechanism backend url uri endpoint host port command cmd change changed reset manager store provider \
    scheme mode warn warning days label field header user username id program chat sync list rounds \
    constraints complexity compliance duration interval limit strength rotation agent helper login prefix \
    json yaml yml toml xml conf cfg ini txt py sh so service md html log gz db sock c h rs go js target timer \
    version usage class column attribute charset separator lock tries limits authenticate level db5 filter \
    group allowed expired aging ageing hashing storage server";

/// Judges a name such as `DB_PASSWORD`, `wpa-psk` or `PresharedKey`.
pub(super) fn judge(name: &str) -> Key {
    let words = words(name);
    let Some(last) = words.last().map(String::as_str) else { return Key::Plain };
    if words.iter().map(String::as_str).eq(["secret", "id"]) {
        // HashiCorp Vault's other half of a login.
        return Key::Secret;
    }
    let public = words.iter().any(|word| matches!(word.as_str(), "public" | "pub" | "pubkey"));
    if is_about(last) || (public && matches!(last, "key" | "keys" | "pubkey")) {
        return Key::Plain;
    }
    let of_kind = |pair: &[String]| match pair {
        [kind, key] => matches!(key.as_str(), "key" | "keys") && has(KEY_KINDS, kind),
        _ => false,
    };
    if words.iter().any(|word| is_noun(word)) || words.windows(2).any(of_kind) {
        return Key::Secret;
    }
    match last {
        "key" | "keys" | "auth" | "hash" | "seed" | "cookie" | "salt" | "authtok" | "bindauth" | "tls" => Key::Perhaps,
        _ => Key::Plain,
    }
}

/// Whether a name that ends with `word` only speaks about a secret.
pub(super) fn is_about(word: &str) -> bool {
    has(ABOUT, word)
}

/// Whether `word` is one of `words`, which spaces separate.
fn has(words: &str, word: &str) -> bool {
    words.split(' ').any(|one| one == word)
}

fn is_noun(word: &str) -> bool {
    let single = word.strip_suffix('s').filter(|single| !single.ends_with('s')).unwrap_or(word);
    if has(NOT_ENDS, single) {
        return false;
    }
    has(NOUNS, word) || has(NOUNS, single) || ENDS.split(' ').any(|end| single.ends_with(end))
}

/// The words of a name, in lower case, without digits at their ends.
pub(super) fn words(name: &str) -> Vec<String> {
    let mut words = Vec::new();
    for part in name.split(|c: char| !c.is_alphanumeric()) {
        let letters: Vec<char> = part.chars().collect();
        let mut word = String::new();
        for (index, letter) in letters.iter().enumerate() {
            let before = index.checked_sub(1).and_then(|before| letters.get(before));
            let after = letters.get(index + 1);
            // `apiKey` is two words, and so is `WPAPassword`.
            let begins = letter.is_uppercase()
                && before.is_some_and(|before| {
                    before.is_lowercase() || before.is_numeric() || after.is_some_and(|after| after.is_lowercase())
                });
            if begins {
                push(&mut words, &mut word);
            }
            word.extend(letter.to_lowercase());
        }
        push(&mut words, &mut word);
    }
    words
}

fn push(words: &mut Vec<String>, word: &mut String) {
    let letters = word.trim_end_matches(|c: char| c.is_numeric());
    if !letters.is_empty() {
        words.push(letters.to_owned());
    }
    word.clear();
}

#[cfg(test)]
mod tests {
    use super::{Key, judge};

    #[test]
    fn names_of_secrets_are_known_in_every_spelling() {
        for name in [
            "password",
            "DB_PASSWORD",
            "dbPass",
            "wpa-psk",
            "PresharedKey",
            "PrivateKey",
            "api_key",
            "apiKey",
            "X-Api-Key",
            "APIKEY",
            "ldap_bindpw",
            "rocommunity",
            "requirepass",
            "masterauth",
            "wep_key0",
            "password2",
            "secret_key_base",
            "client-secret",
            "clientsecret",
            "SECRETS",
            "pre-shared-key",
            "Cleartext-Password",
            "aws_secret_access_key",
            "auth_token",
            "otp_seed",
            "imap_pass",
            "rootpw",
            "WPAPassword",
            "db.password",
            "passwordagain",
            "DB_PASSWORD_STAGING",
            "radius_secret",
            "secret_id",
        ] {
            assert_eq!(judge(name), Key::Secret, "{name}");
        }
    }

    #[test]
    fn names_that_speak_about_secrets_are_not_theirs() {
        for name in [
            "PasswordAuthentication",
            "password_file",
            "passwd_timeout",
            "NOPASSWD",
            "PASS_MAX_DAYS",
            "token_ttl",
            "bypass",
            "user",
            "min_password_length",
            "private_key_path",
            "password_encryption",
            "public_key",
            "passwordless",
            "monkey",
            "host",
            "AuthorizedKeysFile",
            "passwd.conf",
            "ssl-cert",
            "compass",
            "passwordauth",
            "community-list",
        ] {
            assert_ne!(judge(name), Key::Secret, "{name}");
        }
    }
}
