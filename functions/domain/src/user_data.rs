//! A box's user data: a static script and one value in it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use drawbridge_wire::BoxConfig;
use thiserror::Error;

/// What EC2 takes, in bytes before its own base64. Source: "Run commands at launch with EC2 user data" in the EC2
/// user guide.
pub const MAX_USER_DATA_BYTES: usize = 16 * 1024;

/// What the value replaces.
const PLACEHOLDER: &str = "@DRAWBRIDGE_CONFIG@";

const SCRIPT: &str = include_str!("../../../infra/user-data.sh");

/// User data that can't be made.
#[derive(Debug, Error)]
pub enum UserDataError {
    /// The configuration has no JSON form.
    #[error("the box's configuration can't be written as JSON")]
    Json(#[from] serde_json::Error),
    /// More than EC2 takes.
    #[error("the user data has {0} bytes: EC2 takes {MAX_USER_DATA_BYTES}")]
    TooLarge(usize),
}

/// The script that a box with this configuration runs at boot.
///
/// # Errors
/// When it would be larger than [`MAX_USER_DATA_BYTES`].
pub fn render(config: &BoxConfig) -> Result<String, UserDataError> {
    // Base64 has no character that a shell gives a meaning between single quotes, whatever the configuration says.
    let value = STANDARD.encode(serde_json::to_vec(config)?);
    let script = SCRIPT.replacen(PLACEHOLDER, &value, 1);
    if script.len() > MAX_USER_DATA_BYTES { Err(UserDataError::TooLarge(script.len())) } else { Ok(script) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn config(gate_url: String, public_key: String) -> BoxConfig {
        BoxConfig {
            shutdown_at: 1_795_000_000,
            gate_url,
            gate_sha256: crate::hash::sha256(b"gate"),
            run: "home-20261123T203000Z".parse().unwrap(),
            region: "eu-central-1".into(),
            vault: "vault".into(),
            repository: "2026-11-0123456789abcdef".parse().unwrap(),
            public_key,
            port: 2222,
            objects: 1,
            bytes: 2,
            manifest_sha256: crate::hash::sha256(b"manifest"),
            deadline: "2026-11-23T21:00:00Z".parse().unwrap(),
            unusual: None,
        }
    }

    #[test]
    fn the_script_has_exactly_one_place_for_the_value_and_it_is_quoted() {
        assert_eq!(SCRIPT.matches(PLACEHOLDER).count(), 1);
        assert!(SCRIPT.contains(&format!("'{PLACEHOLDER}'")));
        assert!(SCRIPT.starts_with("#!"));
    }

    #[test]
    fn a_script_of_exactly_the_limit_is_taken_and_a_larger_one_is_refused() {
        let of = |length: usize| render(&config("u".repeat(length), String::new()));
        let fits = (0..MAX_USER_DATA_BYTES).rev().find(|length| of(*length).is_ok()).unwrap();
        assert!(of(fits).unwrap().len() > MAX_USER_DATA_BYTES - 4);
        assert!(matches!(of(fits + 3), Err(UserDataError::TooLarge(_))));
    }

    proptest! {
        #[test]
        fn whatever_the_request_says_only_the_value_changes(gate_url in ".{0,300}", public_key in ".{0,300}") {
            let config = config(gate_url, public_key);
            let script = render(&config).unwrap();
            let (before, after) = SCRIPT.split_once(PLACEHOLDER).unwrap();
            let value = script.strip_prefix(before).unwrap().strip_suffix(after).unwrap();
            prop_assert!(value.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/=".contains(&b)));
            let read: BoxConfig = serde_json::from_slice(&STANDARD.decode(value).unwrap()).unwrap();
            prop_assert_eq!(read, config);
        }
    }
}
