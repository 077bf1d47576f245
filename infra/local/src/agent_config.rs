use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use crate::error::Context;
use crate::stack::write_private;
use crate::{Credentials, Functions, Result};

/// One `[[source]]` of the agent's configuration.
#[derive(Debug, Clone, Default)]
pub struct Source {
    /// Its name.
    pub name: String,
    /// Absolute paths.
    pub paths: Vec<PathBuf>,
    /// Globs over absolute paths.
    pub exclude: Vec<String>,
    /// Further lines, for a source on another host.
    pub host: Option<Host>,
}

/// Where a source is, if not here.
#[derive(Debug, Clone)]
pub struct Host {
    /// Name or address.
    pub address: String,
    /// TCP port.
    pub port: u16,
    /// Whom to log in as.
    pub user: String,
    /// The private key.
    pub identity_file: PathBuf,
    /// The pinned host keys.
    pub known_hosts: PathBuf,
}

/// The files that a backup VM has: configuration, access key, repository password.
#[derive(Debug, Clone)]
pub struct AgentFiles {
    folder: PathBuf,
}

impl AgentFiles {
    /// In `agent/` of a stack's folder.
    #[must_use]
    pub fn new(state_dir: &Path) -> Self {
        Self { folder: state_dir.join("agent") }
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.folder.join("drawbridge.toml")
    }

    /// The repository's password.
    #[must_use]
    pub fn password_file(&self) -> PathBuf {
        self.folder.join("password")
    }

    /// The agent's own folder: mirror, local repository, journal.
    #[must_use]
    pub fn state_dir(&self) -> PathBuf {
        self.folder.join("state")
    }

    pub(crate) fn write(
        &self,
        endpoint_url: &str,
        region: &str,
        functions: &Functions,
        key: &Credentials,
        sources: &[Source],
    ) -> Result<()> {
        fs::create_dir_all(&self.folder).context(|| format!("cannot create {}", self.folder.display()))?;
        let credentials = self.folder.join("aws-credentials");
        write_private(
            &credentials,
            &format!(
                "[default]\naws_access_key_id = {}\naws_secret_access_key = {}\n",
                key.access_key_id, key.secret_access_key
            ),
        )?;
        let mut random = [0_u8; 24];
        fs::File::open("/dev/urandom")
            .and_then(|mut source| std::io::Read::read_exact(&mut source, &mut random))
            .context(|| "cannot read /dev/urandom".to_owned())?;
        write_private(&self.password_file(), &format!("{}\n", hex::encode(random)))?;
        let mut text = format!(
            "# Written by cargo local; works as it is while the stack is up.\n\
             state_dir = {}\n\n[repository]\npassword_file = {}\n\n[stack]\nregion = {region:?}\n\
             endpoint_url = {endpoint_url:?}\ncredentials_file = {}\nstart = {:?}\nsession = {:?}\nreport = {:?}\n\
             source_cidr = \"127.0.0.1/32\"\n",
            quoted(&self.state_dir()),
            quoted(&self.password_file()),
            quoted(&credentials),
            functions.start,
            functions.session,
            functions.report,
        );
        for source in sources {
            text.push_str(&source_table(source));
        }
        write_private(&self.config(), &text)
    }
}

fn source_table(source: &Source) -> String {
    let paths: Vec<String> = source.paths.iter().map(|path| quoted(path)).collect();
    let exclude: Vec<String> = source.exclude.iter().map(|glob| toml_string(glob)).collect();
    let mut text = format!(
        "\n[[source]]\nname = {}\npaths = [{}]\nexclude = [{}]\n",
        toml_string(&source.name),
        paths.join(", "),
        exclude.join(", ")
    );
    if let Some(host) = &source.host {
        // Writing to a String can't fail.
        let _infallible = write!(
            text,
            "host = {}\nport = {}\nuser = {}\nidentity_file = {}\nknown_hosts = {}\n",
            toml_string(&host.address),
            host.port,
            toml_string(&host.user),
            quoted(&host.identity_file),
            quoted(&host.known_hosts),
        );
    }
    text
}

fn quoted(path: &Path) -> String {
    toml_string(&path.display().to_string())
}

fn toml_string(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}
