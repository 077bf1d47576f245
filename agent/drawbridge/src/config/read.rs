//! The file as it is written. Values keep their place, so that what is wrong with one can be said with its line.

use serde::Deserialize;
use toml::Spanned;

use super::shape::{MountWish, Quantity, Several};

pub(super) type Text = Spanned<String>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) state_dir: Text,
    pub(super) repository: Repository,
    pub(super) stack: Stack,
    #[serde(default)]
    pub(super) vault: Vault,
    #[serde(default)]
    pub(super) cross: Cross,
    #[serde(default)]
    pub(super) gather: Gather,
    #[serde(default, rename = "source")]
    pub(super) sources: Vec<Spanned<Source>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Repository {
    pub(super) password_file: Text,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Stack {
    pub(super) region: Text,
    pub(super) start: Text,
    pub(super) session: Text,
    pub(super) report: Text,
    pub(super) source_cidr: Option<Text>,
    pub(super) profile: Option<Text>,
    pub(super) credentials_file: Option<Text>,
    pub(super) endpoint_url: Option<Text>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Vault {
    pub(super) bucket: Option<Text>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cross {
    pub(super) streams: Option<Spanned<i64>>,
}

/// What goes for all sources together, and what goes for each that doesn't say otherwise.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Gather {
    pub(super) parallel: Option<Spanned<i64>>,
    pub(super) bandwidth: Option<Spanned<Quantity>>,
    pub(super) user: Option<Text>,
    pub(super) identity_file: Option<Text>,
    pub(super) known_hosts: Option<Text>,
    pub(super) ssh_config: Option<Text>,
    pub(super) connect_timeout: Option<Text>,
    pub(super) silence_timeout: Option<Text>,
    pub(super) timeout: Option<Text>,
    pub(super) retries: Option<Spanned<i64>>,
    pub(super) max_age: Option<Text>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Source {
    pub(super) name: Text,

    pub(super) host: Option<Text>,
    pub(super) port: Option<Spanned<i64>>,
    pub(super) user: Option<Text>,
    pub(super) identity_file: Option<Text>,
    pub(super) known_hosts: Option<Text>,
    pub(super) ssh_config: Option<Text>,
    pub(super) jump: Option<Spanned<Several>>,
    pub(super) require_mount: Option<Spanned<MountWish>>,

    pub(super) preset: Option<Spanned<Several>>,
    pub(super) paths: Option<Spanned<Vec<Text>>>,
    pub(super) paths_if_present: Option<Spanned<Vec<Text>>>,
    pub(super) exclude: Option<Spanned<Vec<Text>>>,
    pub(super) symlinks: Option<Text>,
    pub(super) append: Option<Spanned<Vec<Text>>>,
    pub(super) newest: Option<Spanned<Vec<Newest>>>,
    #[serde(default, rename = "command")]
    pub(super) commands: Vec<Command>,

    #[serde(default, rename = "check")]
    pub(super) checks: Vec<Spanned<Check>>,
    pub(super) min_files: Option<Spanned<i64>>,
    pub(super) min_size: Option<Spanned<Quantity>>,
    pub(super) max_vanish: Option<Text>,
    pub(super) max_age: Option<Text>,

    pub(super) max_file_size: Option<Spanned<Quantity>>,
    pub(super) max_size: Option<Spanned<Quantity>>,
    pub(super) max_entries: Option<Spanned<i64>>,
    pub(super) bandwidth: Option<Spanned<Quantity>>,
    pub(super) connect_timeout: Option<Text>,
    pub(super) silence_timeout: Option<Text>,
    pub(super) timeout: Option<Text>,
    pub(super) retries: Option<Spanned<i64>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Newest {
    pub(super) files: Text,
    pub(super) keep: Spanned<i64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Command {
    pub(super) run: Text,
    pub(super) file: Text,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Check {
    pub(super) files: Option<Spanned<Several>>,
    pub(super) min_size: Option<Spanned<Quantity>>,
    pub(super) format: Option<Text>,
    pub(super) xml_root: Option<Text>,
    pub(super) matches: Option<Text>,
    pub(super) command: Option<Spanned<Vec<Text>>>,
}
