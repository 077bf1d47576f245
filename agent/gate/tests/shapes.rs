//! Objects of real repositories, thousands of them, are let through; what is none is told, each by its own reason.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use bytesize::ByteSize;
use drawbridge_gate::ciphertext::Tell;
use drawbridge_gate::key_shape::{self, KeyFlaw};
use drawbridge_gate::shape::{Inspection, Misfit, sizes};
use drawbridge_peers::need;
use drawbridge_peers::objects::{ciphertext, key, pack};
use drawbridge_wire::ObjectKind;
use rustic_backend::LocalBackend;
use rustic_core::{
    BackupOptions, ConfigOptions, Credentials, KeyOptions, PathList, Repository, RepositoryBackends, RepositoryOptions,
    SnapshotOptions,
};
use tempfile::TempDir;

const KINDS: [ObjectKind; 5] =
    [ObjectKind::Config, ObjectKind::Key, ObjectKind::Data, ObjectKind::Index, ObjectKind::Snapshot];

fn inspect(kind: ObjectKind, bytes: &[u8], piece: usize) -> Result<(), Misfit> {
    let mut inspection = Inspection::new(kind, bytes.len() as u64);
    bytes.chunks(piece).for_each(|bytes| inspection.take_in(bytes));
    inspection.judge()
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

/// Inspects every object of a repository; how many there are of each kind.
fn inspect_all(repository: &Path) -> BTreeMap<ObjectKind, usize> {
    let mut counts = BTreeMap::new();
    for kind in KINDS {
        let (mut paths, at) = (Vec::new(), repository.join(kind.folder()));
        if at.is_dir() {
            files(&at, &mut paths)
        } else {
            paths.push(at)
        }
        for (number, path) in paths.iter().enumerate() {
            let bytes = fs::read(path).unwrap();
            let (least, most) = sizes(kind);
            assert!((least..=most).contains(&(bytes.len() as u64)), "{} has {} bytes", path.display(), bytes.len());
            let piece = [1 << 17, 1000, 37, 1][if bytes.len() < 1 << 20 { number % 4 } else { 0 }];
            assert_eq!(inspect(kind, &bytes, piece), Ok(()), "{}", path.display());
        }
        counts.insert(kind, paths.len());
    }
    counts
}

fn restic(repository: &Path, arguments: &[&str], input: &[u8]) {
    let mut command = Command::new(need("restic", "restic"));
    command.arg("-r").arg(repository).args(["--no-cache", "--quiet"]).args(arguments).env("RESTIC_PASSWORD", "secret");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    assert!(child.wait().unwrap().success(), "{arguments:?}");
}

#[test]
fn every_object_of_stock_restic_s_repositories_is_let_through() {
    let folder = TempDir::new().unwrap();
    for version in ["1", "2"] {
        let repository = folder.path().join(version);
        restic(&repository, &["init", "--repository-version", version], b"");
        for round in 0..10 {
            let text = format!("Nov {round} 03:14:15 fw sshd: session opened\n").repeat(1 + round * 500);
            restic(&repository, &["backup", "--stdin", "--tag", "a tag"], text.as_bytes());
        }
        restic(&repository, &["backup", "--stdin", "--pack-size", "4"], &ciphertext(1, 30_000_000));
        let second = folder.path().join("second");
        fs::write(&second, "another\n").unwrap();
        restic(&repository, &["key", "add", "--new-password-file", second.to_str().unwrap()], b"");
        let counts = inspect_all(&repository);
        assert!(counts[&ObjectKind::Data] >= 20 && counts[&ObjectKind::Key] == 2, "{counts:?}");
        assert!(counts[&ObjectKind::Snapshot] == 11 && counts[&ObjectKind::Index] >= 11, "{counts:?}");
    }
}

/// A repository of rustic_core's whose packs hold hardly more than one blob each.
fn rustic(path: &Path, compression: i32) -> Repository<rustic_core::OpenStatus> {
    let backend = Arc::new(LocalBackend::new(path.to_str().unwrap(), []).unwrap());
    let backends = RepositoryBackends::new(backend, None);
    let config = ConfigOptions::default()
        .set_version(2)
        .set_compression(compression)
        .set_datapack_size(ByteSize(1))
        .set_datapack_size_limit(ByteSize(1))
        .set_treepack_size_limit(ByteSize(1))
        .set_treepack_size(ByteSize(1));
    let repository = Repository::new(&RepositoryOptions::default().no_cache(true), &backends).unwrap();
    repository.init(&Credentials::password("secret"), &KeyOptions::default(), &config).unwrap()
}

#[test]
fn every_one_of_thousands_of_rustic_core_s_objects_is_let_through() {
    let folder = TempDir::new().unwrap();
    let source = folder.path().join("source");
    fs::create_dir_all(&source).unwrap();
    let mut all = 0;
    for compression in [0, 3] {
        let path = folder.path().join(format!("repository-{compression}"));
        let mut repository = rustic(&path, compression);
        for number in 0..1500_usize {
            let bytes =
                if number % 2 == 0 { ciphertext(number as u64, 1 + number) } else { format!("{number} ").into_bytes() };
            fs::write(source.join(number.to_string()), bytes).unwrap();
        }
        for round in 0..60 {
            fs::write(source.join("changes"), format!("round {round}\n").repeat(round)).unwrap();
            let indexed = repository.to_indexed_ids().unwrap();
            let paths = PathList::from_iter([source.clone()]);
            let snapshot = SnapshotOptions::default().to_snapshot().unwrap();
            indexed.backup(&BackupOptions::default(), &paths, snapshot).unwrap();
            repository = indexed.drop_index();
        }
        let counts = inspect_all(&path);
        assert!(counts[&ObjectKind::Data] >= 1500, "{counts:?}");
        assert!(counts[&ObjectKind::Snapshot] == 60 && counts[&ObjectKind::Index] >= 60, "{counts:?}");
        all += counts.values().sum::<usize>();
    }
    assert!(all > 3300, "{all}");
}

/// What stock programs make of a log.
fn made_by(program: &str, package: &str, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("log"), input).unwrap();
    let output = Command::new(need(program, package)).args(arguments).arg("log").current_dir(&folder).output().unwrap();
    assert!(output.status.success() && !output.stdout.is_empty(), "{program}");
    output.stdout
}

/// A log as a firewall writes it; nothing comes twice.
fn log(lines: usize) -> Vec<u8> {
    let line = |n: usize| {
        let noise = u64::from_le_bytes(ciphertext(n as u64, 8).try_into().unwrap());
        let (port, address, size) = (noise & 0xffff, noise >> 16 & 0xff, noise >> 24 & 0x3ff);
        format!(
            "Nov 26 03:{:02}:{:02} fw filterlog[4242]: block,in,4,tcp,{size},10.0.0.{address},{port}\n",
            n / 60 % 60,
            n % 60
        )
    };
    (0..lines).flat_map(|n| line(n).into_bytes()).collect()
}

#[test]
fn what_is_not_encrypted_is_refused_as_every_kind_of_object() {
    use base64::Engine as _;
    let log = log(5000);
    let plain: Vec<(&str, Vec<u8>)> = vec![
        ("a log", log.clone()),
        ("a short log", log[..200].to_vec()),
        ("JSON", br#"{"version":2,"id":"7f4c","chunker_polynomial":"25b468838dcb75"}"#.repeat(3)),
        ("UTF-16", log.iter().flat_map(|byte| [*byte, 0]).collect()),
        ("zeros", vec![0; 300]),
        ("base64 of ciphertext", base64::engine::general_purpose::STANDARD.encode(ciphertext(1, 300)).into_bytes()),
        ("gzip", made_by("gzip", "gzip", &["-c"], &log)),
        ("a short gzip", made_by("gzip", "gzip", &["-c"], &log[..500])),
        ("bzip2", made_by("bzip2", "bzip2", &["-c"], &log)),
        ("xz", made_by("xz", "xz-utils", &["-c"], &log)),
        ("zstd", made_by("zstd", "zstd", &["-q", "-c"], &log)),
        ("a short zstd", made_by("zstd", "zstd", &["-q", "-c"], &log[..500])),
        ("tar", made_by("tar", "tar", &["-c", "-f", "-"], &log)),
        ("a program", fs::read(std::env::current_exe().unwrap()).unwrap()),
    ];
    for (what, bytes) in &plain {
        for kind in [ObjectKind::Config, ObjectKind::Data, ObjectKind::Index, ObjectKind::Snapshot] {
            for piece in [1 << 17, 999] {
                let refused = inspect(kind, bytes, piece).unwrap_err();
                assert!(matches!(refused, Misfit::Plaintext(_)), "{what} as {kind:?}: {refused}");
            }
        }
        assert!(matches!(inspect(ObjectKind::Key, bytes, 100), Err(Misfit::Key(_))), "{what}");
    }
}

#[test]
fn compressed_data_is_told_by_its_bytes_when_there_is_enough_of_it() {
    // Without its beginning, as inside of something else.
    let log = log(20_000);
    for program in ["gzip", "zstd", "bzip2"] {
        let bytes = made_by(program, program, &["-q", "-c"], &log);
        let judged = inspect(ObjectKind::Index, &bytes[100..bytes.len().min(100_000)], 5000).unwrap_err();
        let statistical = matches!(judged, Misfit::Plaintext(Tell::Bits | Tell::Frequent | Tell::Uneven));
        assert!(statistical, "{program}: {judged}");
    }
}

#[test]
fn a_pack_ends_with_the_length_of_its_header() {
    let right = pack(1, 1000);
    assert_eq!(inspect(ObjectKind::Data, &right, 100), Ok(()));
    assert_eq!(inspect(ObjectKind::Data, &ciphertext(1, 1000), 100), Err(Misfit::Pack), "no such length at the end");
    assert_eq!(inspect(ObjectKind::Data, &right[1..], 100), Ok(()), "what it cannot tell");
    assert_eq!(inspect(ObjectKind::Data, &right[..999], 100), Err(Misfit::Pack));
}

#[test]
fn a_key_has_the_fields_of_restic_s_and_nothing_else() {
    let right = String::from_utf8(key(1)).unwrap();
    assert_eq!(key_shape::check(right.as_bytes()), Ok(()));
    let salt = right.split("\"salt\":\"").nth(1).unwrap().split('"').next().unwrap();
    let data = right.split("\"data\":\"").nth(1).unwrap().split('"').next().unwrap();
    let text = "QSBsb2cgbGluZSBhcyBwbGFpbiBhcyBjYW4gYmUu".repeat(5);
    for (find, replace, flaw) in [
        ("{", "", KeyFlaw::Fields),
        ("\"N\"", "\"n\"", KeyFlaw::Fields),
        ("{", "{\"note\":\"the log of a whole night\",", KeyFlaw::Fields),
        ("\"r\":8,", "", KeyFlaw::Fields),
        ("\"r\":8,", "\"r\":\"8\",", KeyFlaw::Fields),
        ("\"p\":1,", "\"p\":1,\"p\":1,", KeyFlaw::Fields),
        ("2026-11-23T20", "yesterday", KeyFlaw::Created),
        ("\"vm\"", "\"v\\nm\"", KeyFlaw::Name),
        ("\"root\"", &format!("{:?}", "r".repeat(256)), KeyFlaw::Name),
        ("scrypt", "none", KeyFlaw::Kdf),
        ("32768", "32767", KeyFlaw::Parameters),
        ("32768", "512", KeyFlaw::Parameters),
        ("32768", "134217728", KeyFlaw::Parameters),
        ("\"r\":8", "\"r\":65", KeyFlaw::Parameters),
        ("\"p\":1", "\"p\":0", KeyFlaw::Parameters),
        (salt, "AAAA", KeyFlaw::Salt),
        (salt, "not base64!", KeyFlaw::Salt),
        (salt, &text[..100], KeyFlaw::Salt),
        (data, "AAAA", KeyFlaw::Data),
        (data, &data.repeat(4), KeyFlaw::Data),
        (data, &text, KeyFlaw::Plaintext(Tell::Bits)),
    ] {
        assert!(right.contains(find), "{find}");
        assert_eq!(key_shape::check(right.replacen(find, replace, 1).as_bytes()), Err(flaw), "{find} -> {replace}");
    }
}
