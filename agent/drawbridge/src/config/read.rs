//! The file as it is written. Values keep their place, so that what is wrong with one can be said with its line.

use serde::Deserialize;
use toml::Spanned;

type Text = Spanned<String>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) state_dir: Text,
    pub(super) repository: Repository,
    pub(super) stack: Stack,
    #[serde(default)]
    pub(super) cross: Cross,
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
pub(super) struct Cross {
    pub(super) streams: Option<Spanned<i64>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Source {
    pub(super) name: Text,
    pub(super) paths: Spanned<Vec<Text>>,
    #[serde(default)]
    pub(super) exclude: Vec<Text>,
    pub(super) host: Option<Text>,
    pub(super) port: Option<Spanned<i64>>,
    pub(super) user: Option<Text>,
    pub(super) identity_file: Option<Text>,
    pub(super) known_hosts: Option<Text>,
}
