use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{InvalidName, Sha256Digest};

/// The largest object of a repository, in bytes. restic's largest configurable pack is 128 MiB and a pack may exceed
/// its target by one blob (at most 8 MiB) and its header.
pub const MAX_PACK_BYTES: u64 = 144 * 1024 * 1024;

/// The folders of a restic repository, in the order in which they have to reach the vault: an index must not name a
/// pack that isn't there, nor a snapshot a tree that no index knows.
/// Source: restic's design document, "Repository Layout".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectKind {
    /// `config`, the one file whose name is not its hash.
    Config,
    /// `keys/`
    Key,
    /// `data/`, packs of encrypted blobs.
    Data,
    /// `index/`
    Index,
    /// `snapshots/`
    Snapshot,
}

impl ObjectKind {
    /// The folder, or the file's own name for `config`.
    #[must_use]
    pub const fn folder(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Key => "keys",
            Self::Data => "data",
            Self::Index => "index",
            Self::Snapshot => "snapshots",
        }
    }
}

/// The name of a file of a repository as restic's REST protocol writes it: `config` or `<folder>/<sha-256>`. Two hex
/// digits of sub-folder under `data/` are the storage's business, see [`ObjectName::path`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ObjectName {
    kind: ObjectKind,
    digest: Option<Sha256Digest>,
}

impl ObjectName {
    /// The repository's `config`.
    pub const CONFIG: Self = Self { kind: ObjectKind::Config, digest: None };

    /// The file of a hashed kind whose content has this digest; `None` for [`ObjectKind::Config`], which has no hash
    /// in its name.
    #[must_use]
    pub fn hashed(kind: ObjectKind, digest: Sha256Digest) -> Option<Self> {
        (kind != ObjectKind::Config).then_some(Self { kind, digest: Some(digest) })
    }

    /// The kind of file, which orders the crossing.
    #[must_use]
    pub const fn kind(&self) -> ObjectKind {
        self.kind
    }

    /// The SHA-256 of the content as far as the name states it: all but `config`.
    #[must_use]
    pub const fn digest(&self) -> Option<Sha256Digest> {
        self.digest
    }

    /// Where the file lies below the repository's folder, on disk and in the vault: `data/` is split by two digits.
    #[must_use]
    pub fn path(&self) -> String {
        match (self.kind, self.digest) {
            (ObjectKind::Data, Some(digest)) => {
                let name = digest.to_string();
                format!("data/{}/{name}", name.get(..2).unwrap_or_default())
            }
            _ => self.to_string(),
        }
    }

    /// The object at a [`ObjectName::path`]; `None` for any other path.
    #[must_use]
    pub fn at_path(path: &str) -> Option<Self> {
        let name = match path.strip_prefix("data/") {
            Some(split) => format!("data/{}", split.split_once('/')?.1).parse::<Self>().ok()?,
            None => path.parse().ok()?,
        };
        (name.path() == path).then_some(name)
    }
}

impl FromStr for ObjectName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "config" {
            return Ok(Self::CONFIG);
        }
        let invalid =
            || InvalidName::new("an object of a repository", text, "config, or keys|data|index|snapshots/<sha-256>");
        let (folder, name) = text.split_once('/').ok_or_else(invalid)?;
        let kind = match folder {
            "keys" => ObjectKind::Key,
            "data" => ObjectKind::Data,
            "index" => ObjectKind::Index,
            "snapshots" => ObjectKind::Snapshot,
            _ => return Err(invalid()),
        };
        Ok(Self { kind, digest: Some(name.parse().map_err(|_| invalid())?) })
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.folder())?;
        match self.digest {
            Some(digest) => write!(f, "/{digest}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TryFrom<String> for ObjectName {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ObjectName> for String {
    fn from(name: ObjectName) -> Self {
        name.to_string()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const HEX: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

    #[test]
    fn data_is_split_by_two_digits_and_nothing_else_is() {
        assert_eq!(format!("data/{HEX}").parse::<ObjectName>().unwrap().path(), format!("data/00/{HEX}"));
        assert_eq!(format!("index/{HEX}").parse::<ObjectName>().unwrap().path(), format!("index/{HEX}"));
        assert_eq!("config".parse::<ObjectName>().unwrap().path(), "config");
    }

    #[test]
    fn nothing_but_the_five_kinds_parses() {
        for wrong in [
            "",
            "/",
            "config/",
            "Config",
            "data",
            "data/",
            "data/..",
            "data/../config",
            "locks/00",
            &format!("locks/{HEX}"),
            &format!("data/{}", HEX.to_uppercase()),
            &format!("data/00/{HEX}"),
            &format!("/data/{HEX}"),
            &format!("data/{HEX}/"),
        ] {
            assert!(wrong.parse::<ObjectName>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_path_leads_back_to_its_object_and_no_other_path_does() {
        for name in ["config".to_owned(), format!("data/{HEX}"), format!("keys/{HEX}"), format!("snapshots/{HEX}")] {
            let name: ObjectName = name.parse().unwrap();
            assert_eq!(ObjectName::at_path(&name.path()), Some(name));
        }
        for wrong in [
            "",
            "data",
            &format!("data/{HEX}"),
            &format!("data/01/{HEX}"),
            &format!("data/00/00/{HEX}"),
            &format!("index/00/{HEX}"),
            &format!("locks/{HEX}"),
            "config/",
        ] {
            assert_eq!(ObjectName::at_path(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn kinds_are_ordered_as_they_must_cross() {
        use ObjectKind::{Config, Data, Index, Key, Snapshot};
        assert!(Config < Key && Key < Data && Data < Index && Index < Snapshot);
    }
}
