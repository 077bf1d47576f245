use std::path::{Path, PathBuf};

/// Where things are in this checkout.
#[derive(Debug, Clone)]
pub struct Workspace {
    root: PathBuf,
    target: PathBuf,
}

impl Workspace {
    /// The checkout that cargo runs this program in; without cargo, the one that it was compiled from. Two checkouts
    /// that share a target folder share the program too.
    #[must_use]
    pub fn here() -> Self {
        let compiled = Path::new(env!("CARGO_MANIFEST_DIR"));
        let started = std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| compiled.to_path_buf(), PathBuf::from);
        let is_root = |folder: &&Path| folder.join("infra/template.yaml").exists();
        let root = started.ancestors().find(is_root).or_else(|| compiled.ancestors().nth(2)).unwrap_or(compiled);
        let root = root.to_path_buf();
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |dir| root.join(dir));
        Self { root, target }
    }

    /// The checkout's root.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where everything that is built or brought up lies; `CARGO_TARGET_DIR` if that is set.
    #[must_use]
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// `infra/template.yaml`.
    #[must_use]
    pub fn template(&self) -> PathBuf {
        self.root.join("infra/template.yaml")
    }

    /// The Python package that emulates AWS.
    #[must_use]
    pub fn emulator(&self) -> PathBuf {
        self.root.join("infra/local/emulator")
    }

    /// A program of the workspace, built in the dev profile.
    #[must_use]
    pub fn program(&self, name: &str) -> PathBuf {
        self.target.join("debug").join(name)
    }

    /// Where `cargo local up` keeps everything unless told otherwise.
    #[must_use]
    pub fn state_dir(&self) -> PathBuf {
        self.target.join("local")
    }
}
