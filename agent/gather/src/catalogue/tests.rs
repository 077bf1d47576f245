#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
use proptest::prelude::*;

use super::*;
use crate::tree::Mtime;

fn meta(kind: Kind, size: u64) -> Meta {
    let mtime = Mtime { seconds: 1_700_000_000, nanoseconds: 5 };
    Meta { kind, size, allocated: None, mode: 0o640, uid: 1000, gid: 4, mtime }
}

fn entry(name: &[u8], size: u64) -> Entry {
    Entry {
        name: OsString::from_vec(name.to_vec()),
        meta: meta(Kind::File, size),
        link: OsString::new(),
        fresh: false,
        fetched: true,
    }
}

fn header() -> Header {
    Header { place: "ssh dns.lan".to_owned(), root: meta(Kind::Directory, 0), boot: "b".to_owned() }
}

fn write(path: &Path, folders: &[Folder]) {
    let mut writer = CatalogueWriter::begin(path, &header()).unwrap();
    folders.iter().for_each(|folder| writer.add(folder).unwrap());
    writer.finish().unwrap().take_name().unwrap();
}

#[test]
fn what_was_written_is_read_whatever_the_names_are() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dns");
    assert!(Catalogue::open(&path).unwrap().is_none());
    let etc = Folder::new(Path::new("/etc"), vec![entry(b"z", 7), entry(b"\xff\x01 ", 5), entry(b"a\nb", 1)]);
    let empty = Folder::new(Path::new("/"), Vec::new());
    write(&path, &[etc.clone(), empty]);
    let mut catalogue = Catalogue::open(&path).unwrap().unwrap();
    assert_eq!((catalogue.totals, catalogue.header.clone()), (Totals { files: 3, bytes: 13 }, header()));
    assert_eq!(*catalogue.folder(Path::new("/etc")).unwrap().unwrap(), etc);
    assert_eq!(catalogue.entry(Path::new("/etc/z")).unwrap(), Some(entry(b"z", 7)));
    assert_eq!(catalogue.entry(Path::new("/etc/y")).unwrap(), None);
    assert!(catalogue.folder(Path::new("/var")).unwrap().is_none());
    let mut below = Below::of(Path::new("/etc"));
    assert_eq!(below.next(&mut catalogue).unwrap().unwrap().path(), Path::new("/etc"));
    assert!(below.next(&mut catalogue).unwrap().is_none());
    assert_eq!(catalogue.folders().count(), 2);
    assert!(!path.with_extension("new").exists());
}

#[test]
fn a_catalogue_that_was_never_finished_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dns");
    let mut writer = CatalogueWriter::begin(&path, &header()).unwrap();
    writer.add(&Folder::new(Path::new("/"), vec![entry(b"a", 1)])).unwrap();
    drop(writer);
    assert!(Catalogue::open(&path).unwrap().is_none());
}

#[test]
fn a_catalogue_that_is_cut_off_anywhere_or_changed_anywhere_is_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dns");
    write(&path, &[Folder::new(Path::new("/etc"), vec![entry(b"a", 1), entry(b"b", 2)])]);
    let whole = std::fs::read(&path).unwrap();
    for length in 0..whole.len() {
        std::fs::write(&path, &whole[..length]).unwrap();
        assert!(matches!(Catalogue::open(&path), Err(CatalogueError::Damaged { .. })), "cut at {length}");
    }
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 0x41;
        std::fs::write(&path, &changed).unwrap();
        assert!(matches!(Catalogue::open(&path), Err(CatalogueError::Damaged { .. })), "changed at {at}");
    }
    let mut longer = whole;
    longer.push(0);
    std::fs::write(&path, &longer).unwrap();
    assert!(matches!(Catalogue::open(&path), Err(CatalogueError::Damaged { .. })));
}

#[test]
fn no_memory_is_taken_for_a_block_that_is_longer_than_any_or_than_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dns");
    for (announced, length) in [(MAX_BLOCK_BYTES + 1, 1 << 30), (1000, 100)] {
        std::fs::write(&path, [&MAGIC[..], &announced.to_le_bytes()].concat()).unwrap();
        std::fs::File::options().write(true).open(&path).unwrap().set_len(length).unwrap();
        let Err(error) = Catalogue::open(&path) else { panic!("{announced}") };
        assert!(error.to_string().contains("a block is too long"), "{error}");
    }
}

#[test]
fn a_catalogue_that_lacks_a_whole_block_is_damaged() {
    // The block of length zero, and the totals: two numbers of a byte each.
    const END_BYTES: usize = 4 + 4 + CHECKSUM_BYTES + 2;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dns");
    write(&path, &[]);
    let header = std::fs::read(&path).unwrap().len() - END_BYTES;
    write(&path, &[Folder::new(Path::new("/etc"), vec![entry(b"a", 1)])]);
    let whole = std::fs::read(&path).unwrap();
    assert_eq!(whole[whole.len() - END_BYTES..][..4], [0; 4]);
    std::fs::write(&path, [&whole[..header], &whole[whole.len() - END_BYTES..]].concat()).unwrap();
    assert!(matches!(Catalogue::open(&path), Err(CatalogueError::Damaged { .. })));
}

proptest! {
    #[test]
    fn nothing_that_stands_in_a_block_can_make_reading_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _understood = fuzz_block(&bytes);
    }
}
