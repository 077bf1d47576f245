use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use drawbridge_local::Clients;
use drawbridge_peers::objects::{ciphertext, key, pack};
use drawbridge_wire::{
    Manifest, ManifestObject, ObjectKind, ObjectName, RunId, SessionAnswer, SessionRequest, Sha256Digest, StartAnswer,
    StartRequest,
};
use sha2::{Digest, Sha256};

use crate::{Rig, need, wait_until};

/// A run that a test opened with the agent's credentials, without the agent: its gate waits for stock `ssh` and `curl`.
pub struct OpenRun {
    /// The run.
    pub run: RunId,
    /// What `start` was asked.
    pub request: StartRequest,
    /// Every object that the manifest declares, with its contents.
    pub objects: Vec<(ObjectName, Vec<u8>)>,
    /// The manifest's bytes.
    pub manifest: Vec<u8>,
    /// The gate's address.
    pub address: String,
    /// The gate's port.
    pub port: u16,
    folder: PathBuf,
}

/// A stock `ssh` that forwards a local port to the gate; ended when dropped.
pub struct Forward {
    child: Child,
    /// The local port.
    pub port: u16,
}

impl Drop for Forward {
    fn drop(&mut self) {
        // Ended by itself already, or ended now.
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// The digest of some bytes.
pub fn digest(bytes: &[u8]) -> Sha256Digest {
    Sha256Digest::from_bytes(Sha256::digest(bytes).into())
}

/// Small objects of every kind, as far as a gate can tell; so many of them packs.
fn objects(packs: u64) -> Vec<(ObjectName, Vec<u8>)> {
    let hashed = |kind, contents: Vec<u8>| (ObjectName::hashed(kind, digest(&contents)).unwrap(), contents);
    let mut objects = vec![(ObjectName::CONFIG, ciphertext(9, 155)), hashed(ObjectKind::Key, key(0))];
    objects.extend((0..packs).map(|number| hashed(ObjectKind::Data, pack(number, 1000))));
    objects.push(hashed(ObjectKind::Index, ciphertext(1, 999)));
    objects.push(hashed(ObjectKind::Snapshot, ciphertext(2, 998)));
    objects
}

impl OpenRun {
    /// Asks `start` for a run and waits until its gate listens.
    pub async fn begin(rig: &Rig) -> Self {
        Self::with_packs(rig, 2).await
    }

    /// As [`OpenRun::begin`], with so many packs among what it declares.
    pub async fn with_packs(rig: &Rig, packs: u64) -> Self {
        // One run after another may be opened by hand.
        let folder = tempfile::Builder::new().prefix("by-hand-").tempdir_in(rig.folder()).unwrap().keep();
        for key in ["key", "other-key"] {
            let keygen = need("ssh-keygen", "openssh-client");
            let arguments = ["-q", "-t", "ed25519", "-N", "", "-f"];
            assert!(Command::new(keygen).args(arguments).arg(folder.join(key)).status().unwrap().success());
        }
        let objects = objects(packs);
        let entry = |(name, contents): &(ObjectName, Vec<u8>)| match name.digest() {
            Some(_) => ManifestObject::hashed(*name, contents.len() as u64, true),
            None => ManifestObject::config(digest(contents), contents.len() as u64, true),
        };
        let manifest = Manifest::new("0123456789abcdef".parse().unwrap(), objects.iter().map(entry).collect()).unwrap();
        let (count, bytes) = manifest.declared();
        let manifest = serde_json::to_vec(&manifest).unwrap();
        let request = StartRequest {
            public_key: fs::read_to_string(folder.join("key.pub")).unwrap(),
            source_cidr: Some("127.0.0.1/32".parse().unwrap()),
            repository: "0123456789abcdef".parse().unwrap(),
            generation: None,
            objects: count,
            bytes,
            manifest_sha256: digest(&manifest),
        };
        let agent = rig.agent_clients().await;
        let answer: StartAnswer = invoke(&agent, &rig.stack().functions.start, &request).await.unwrap();
        let StartAnswer::Started { run, .. } = answer else { panic!("{answer:?}") };
        let mut open = None;
        wait_until(60, "the bridge is down", async || {
            let request = SessionRequest { run: run.clone() };
            match invoke(&agent, &rig.stack().functions.session, &request).await.unwrap() {
                SessionAnswer::Open { address, port, host_key, .. } => {
                    open = Some((address.to_string(), port, host_key));
                    Ok(())
                }
                SessionAnswer::Waiting => Err("waiting".to_owned()),
                other => panic!("{other:?}"),
            }
        })
        .await;
        let (address, port, host_key) = open.unwrap();
        fs::write(folder.join("known_hosts"), format!("[{address}]:{port} {host_key}\n")).unwrap();
        Self { run, request, objects, manifest, address, port, folder }
    }

    /// The contents of the first object of a kind.
    pub fn object(&self, kind: ObjectKind) -> &(ObjectName, Vec<u8>) {
        self.objects.iter().find(|(name, _)| name.kind() == kind).unwrap()
    }

    /// A file of this run's folder with these contents.
    pub fn file(&self, name: &str, contents: &[u8]) -> PathBuf {
        let path = self.folder.join(name);
        fs::write(&path, contents).unwrap();
        path
    }

    /// Stock `ssh` to the gate, with the run's key and the host key pinned.
    pub fn ssh(&self, options: &[&str]) -> Command {
        self.ssh_as(&self.folder.join("key"), options)
    }

    /// As [`OpenRun::ssh`], with a key that the run doesn't know.
    pub fn ssh_with_another_key(&self, options: &[&str]) -> Command {
        self.ssh_as(&self.folder.join("other-key"), options)
    }

    fn ssh_as(&self, key: &Path, options: &[&str]) -> Command {
        let mut command = Command::new(need("ssh", "openssh-client"));
        command.args([
            "-F",
            "none",
            "-o",
            "BatchMode=yes",
            "-o",
            "StrictHostKeyChecking=yes",
            "-o",
            "IdentitiesOnly=yes",
        ]);
        command.arg("-o").arg(format!("UserKnownHostsFile={}", self.folder.join("known_hosts").display()));
        command.arg("-i").arg(key).args(["-o", "ConnectTimeout=10", "-p"]).arg(self.port.to_string());
        command.args(options).arg(format!("drawbridge@{}", self.address)).stdin(Stdio::null());
        command
    }

    /// Everything crosses: the manifest, every object, the receipt.
    pub async fn cross(&self) {
        let gate = self.forward().await;
        let post = |path: &str, contents: &[u8]| {
            let (status, said) = gate.post(path, &self.file("body", contents));
            assert_eq!(status, 200, "{path}: {said}");
        };
        post("/manifest", &self.manifest);
        for (name, contents) in &self.objects {
            post(&format!("/{name}"), contents);
        }
        post("/receipt", b"");
    }

    /// Forwards a local port to the gate's one name.
    pub async fn forward(&self) -> Forward {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let to = format!("127.0.0.1:{port}:{}:{}", drawbridge_ssh::VAULT_HOST, drawbridge_ssh::VAULT_PORT);
        let child = self.ssh(&["-N", "-o", "ExitOnForwardFailure=yes", "-L", &to]).spawn().unwrap();
        let forward = Forward { child, port };
        wait_until(20, "ssh forwards", async || {
            std::net::TcpStream::connect(("127.0.0.1", port)).map(drop).map_err(|error| error.to_string())
        })
        .await;
        forward
    }
}

impl Forward {
    /// Stock `curl` through the tunnel; answers the HTTP status and the body.
    pub fn curl(&self, path: &str, arguments: &[&str]) -> (u16, String) {
        let mut command = Command::new(need("curl", "curl"));
        command.args(["--silent", "--show-error", "--path-as-is", "--max-time", "30", "--write-out", "\n%{http_code}"]);
        command.args(arguments).arg(format!("http://127.0.0.1:{}{path}", self.port));
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (body, status) = text.rsplit_once('\n').unwrap();
        assert_ne!(status, "000", "{path}: {}", String::from_utf8_lossy(&output.stderr));
        (status.parse().unwrap(), body.trim().to_owned())
    }

    /// POSTs a file.
    pub fn post(&self, path: &str, file: &Path) -> (u16, String) {
        let data = format!("@{}", file.display());
        self.curl(
            path,
            &["--request", "POST", "--header", "Content-Type: application/octet-stream", "--data-binary", &data],
        )
    }
}

/// Invokes a function and parses its answer; the error is the function's own, or AWS's code.
pub async fn invoke<T: serde::de::DeserializeOwned>(
    clients: &Clients,
    function: &str,
    request: &impl serde::Serialize,
) -> Result<T, String> {
    use aws_sdk_lambda::error::ProvideErrorMetadata;
    let payload = serde_json::to_vec(request).unwrap();
    let answer = clients.lambda.invoke().function_name(function).payload(payload.into()).send().await;
    let answer = answer.map_err(|error| error.code().unwrap_or("no code").to_owned())?;
    let body = answer.payload().map(|body| body.clone().into_inner()).unwrap_or_default();
    if answer.function_error().is_some() {
        return Err(String::from_utf8(body).unwrap());
    }
    serde_json::from_slice(&body).map_err(|error| format!("{error}: {}", String::from_utf8_lossy(&body)))
}
