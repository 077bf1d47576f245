#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;

fn put_string(out: &mut Vec<u8>, string: &[u8]) {
    out.extend((string.len() as u32).to_be_bytes());
    out.extend(string);
}

fn put_attributes(out: &mut Vec<u8>, attributes: &Attributes, extended: u32) {
    let flag = |present: bool, flag: u32| if present { flag } else { 0 };
    let flags = flag(attributes.size.is_some(), 1)
        | flag(attributes.uid_gid.is_some(), 2)
        | flag(attributes.permissions.is_some(), 4)
        | flag(attributes.times.is_some(), 8)
        | flag(extended > 0, 1 << 31);
    out.extend(flags.to_be_bytes());
    out.extend(attributes.size.into_iter().flat_map(u64::to_be_bytes));
    let pair = |pair: Option<(u32, u32)>| pair.into_iter().flat_map(|(a, b)| [a, b]).flat_map(u32::to_be_bytes);
    out.extend(pair(attributes.uid_gid));
    out.extend(attributes.permissions.into_iter().flat_map(u32::to_be_bytes));
    out.extend(pair(attributes.times));
    if extended > 0 {
        out.extend(extended.to_be_bytes());
        for _ in 0..extended {
            put_string(out, b"kind");
            put_string(out, b"value");
        }
    }
}

fn put_names(entries: &[Entry], extended: u32) -> Vec<u8> {
    let mut body = (entries.len() as u32).to_be_bytes().to_vec();
    for entry in entries {
        put_string(&mut body, &entry.name);
        put_string(&mut body, b"-rw-r--r-- as ls has it");
        put_attributes(&mut body, &entry.attributes, extended);
    }
    body
}

fn packet_of(kind: u8, id: u32, body: &[u8]) -> Vec<u8> {
    [&[kind], &id.to_be_bytes()[..], body].concat()
}

fn any_attributes() -> impl Strategy<Value = Attributes> {
    (
        option::of(any::<u64>()),
        option::of(any::<(u32, u32)>()),
        option::of(any::<u32>()),
        option::of(any::<(u32, u32)>()),
    )
        .prop_map(|(size, uid_gid, permissions, times)| Attributes { size, uid_gid, permissions, times })
}

fn any_entry() -> impl Strategy<Value = Entry> {
    let byte = any::<u8>().prop_filter("no name has it", |byte| *byte != 0 && *byte != b'/');
    (vec(byte, 1..=255), any_attributes()).prop_map(|(name, attributes)| Entry { name, attributes })
}

/// Packets as honest servers send them.
fn any_packet() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        (any::<u32>(), any::<String>()).prop_map(|(code, words)| {
            let mut body = code.to_be_bytes().to_vec();
            put_string(&mut body, words.as_bytes());
            put_string(&mut body, b"en");
            packet_of(kind::STATUS, 1, &body)
        }),
        (prop_oneof![Just(kind::HANDLE), Just(kind::DATA)], vec(any::<u8>(), 1..200)).prop_map(|(kind, bytes)| {
            let mut body = Vec::new();
            put_string(&mut body, &bytes);
            packet_of(kind, 1, &body)
        }),
        (any_attributes(), 0_u32..3).prop_map(|(attributes, extended)| {
            let mut body = Vec::new();
            put_attributes(&mut body, &attributes, extended);
            packet_of(kind::ATTRS, 1, &body)
        }),
        (vec(any_entry(), 1..4), 0_u32..3).prop_map(|(entries, extended)| packet_of(
            kind::NAME,
            1,
            &put_names(&entries, extended)
        )),
    ]
}

proptest! {
    #[test]
    fn entries_come_as_they_were_sent(entries in vec(any_entry(), 1..20), extended in 0_u32..3, id: u32) {
        let packet = packet_of(kind::NAME, id, &put_names(&entries, extended));
        let (came, reply) = decode(packet.into()).unwrap();
        prop_assert_eq!(came, id);
        let Reply::Names(names) = reply else { panic!("{reply:?}") };
        prop_assert_eq!(names.entries().unwrap(), entries);
    }

    #[test]
    fn attributes_come_as_they_were_sent(attributes in any_attributes(), extended in 0_u32..3, id: u32) {
        let mut body = Vec::new();
        put_attributes(&mut body, &attributes, extended);
        let came = decode(packet_of(kind::ATTRS, id, &body).into());
        prop_assert_eq!(came, Ok((id, Reply::Attributes(attributes))));
    }

    #[test]
    fn honest_packets_are_understood_and_none_of_their_beginnings_is(packet in any_packet()) {
        prop_assert!(decode(packet.clone().into()).is_ok());
        for end in 0..packet.len() {
            match decode(Bytes::copy_from_slice(&packet[..end])) {
                Ok((_, Reply::Names(names))) => prop_assert!(names.entries().is_err()),
                // Old servers end a STATUS after its code, or after its words.
                Ok((_, Reply::Status { .. })) => {}
                other => prop_assert!(other.is_err(), "{other:?} from {end} bytes of {packet:?}"),
            }
        }
    }

    #[test]
    fn changed_packets_are_never_the_end_of_us(
        mut packet in any_packet(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
    ) {
        for (place, byte) in changes {
            let place = place.index(packet.len());
            packet[place] = byte;
        }
        decode_everything(&packet);
    }

    #[test]
    fn no_bytes_are_the_end_of_us(bytes in vec(any::<u8>(), 0..300), kind in prop_oneof![Just(2_u8), 100_u8..106, Just(201)]) {
        decode_everything(&bytes);
        decode_everything(&[&[kind], &bytes[..]].concat());
    }

    #[test]
    fn what_is_listed_is_a_name_and_nothing_else(name in vec(prop_oneof![Just(b'/'), Just(0), Just(b'.'), any::<u8>()], 0..300)) {
        let entry = Entry { name: name.clone(), attributes: Attributes::default() };
        let (_, reply) = decode(packet_of(kind::NAME, 1, &put_names(&[entry], 0)).into()).unwrap();
        let Reply::Names(names) = reply else { panic!("{reply:?}") };
        let good = (1..=255).contains(&name.len()) && !name.contains(&b'/') && !name.contains(&0);
        prop_assert_eq!(names.entries().is_ok(), good);
    }
}

#[test]
fn requests_are_laid_out_as_the_draft_says() {
    let encoded = |request: Request<'_>| {
        let mut out = Vec::new();
        request.encode(0x0102_0304, &mut out);
        out
    };
    assert_eq!(encoded(Request::Lstat(b"/a")), *b"\0\0\0\x0b\x07\x01\x02\x03\x04\0\0\0\x02/a");
    assert_eq!(encoded(Request::Open(b"a")), *b"\0\0\0\x12\x03\x01\x02\x03\x04\0\0\0\x01a\0\0\0\x01\0\0\0\0");
    let read = Request::Read { handle: b"h", offset: 0x1122_3344_5566_7788, length: 0x99aa_bbcc };
    let expected = b"\0\0\0\x16\x05\x01\x02\x03\x04\0\0\0\x01h\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc";
    assert_eq!(encoded(read), expected);
    assert_eq!(init(), *b"\0\0\0\x05\x01\0\0\0\x03");
}
