//! Programs that come from crates.io and not from Debian.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A program as `cargo install` takes it.
#[derive(Debug, Clone, Copy)]
pub struct Program {
    /// The program's name.
    pub name: &'static str,
    /// The crate that it is in.
    pub package: &'static str,
    /// The exact version.
    pub version: &'static str,
    /// What else `cargo install` is told, such as features.
    pub arguments: &'static [&'static str],
}

impl Program {
    /// The path of the program, installed below `folder` once.
    ///
    /// As a dependency of the workspace it would change features of crates that the AWS SDK is built on, and thereby have
    /// everything compiled anew for everybody.
    ///
    /// # Panics
    /// When it can't be installed.
    #[must_use]
    pub fn below(&self, folder: &Path) -> PathBuf {
        let root = folder.join(format!("{}-{}", self.package, self.version));
        let program = root.join("bin").join(self.name);
        if !program.is_file() {
            eprintln!("installing {} {} in {}", self.package, self.version, root.display());
            let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
            let mut install = Command::new(cargo);
            install.args(["install", "--quiet", "--locked", "--version", &format!("={}", self.version), self.package]);
            // The workspace's own settings are no business of another program's build, and neither is its target folder.
            install.args(self.arguments).arg("--root").arg(&root).current_dir(std::env::temp_dir());
            install.env_remove("CARGO_TARGET_DIR");
            // What `--debug` makes: the package's own idea of a debug build may take far longer.
            install.env("CARGO_PROFILE_DEV_DEBUG", "0").env("CARGO_PROFILE_DEV_OPT_LEVEL", "1");
            let status = install.status().unwrap();
            assert!(status.success(), "cargo install {} {}: {status}", self.package, self.version);
        }
        program
    }
}
