//! What is caught, what is let through, and that no true ciphertext is refused.

use drawbridge_peers::objects::ciphertext;

use super::*;

fn judge(bytes: &[u8]) -> Result<(), Tell> {
    let mut sample = Sample::default();
    sample.take_in(bytes);
    sample.judge()
}

/// So many bytes in a row, over and over.
fn over_and_over(pattern: &[u8], length: usize) -> Vec<u8> {
    pattern.iter().copied().cycle().take(length).collect()
}

#[test]
fn no_ciphertext_of_any_length_is_refused() {
    let lengths = (0..300).chain([1000, 4096, 65_536, 1_000_000]);
    for length in lengths {
        let tries = if length < 10_000 { 500 } else { 20 };
        for seed in 0..tries {
            assert_eq!(judge(&ciphertext(seed << 32 | length as u64, length)), Ok(()), "{length} bytes of seed {seed}");
        }
    }
}

#[test]
fn text_is_known_by_its_bits_from_44_bytes_on() {
    let line = b"Nov 26 03:14:15 fw filterlog[4242]: 5,,,1000000103,em0,match,block,in,4\n";
    for length in [44, 64, 155, 1000, 100_000] {
        assert_eq!(judge(&over_and_over(line, length)), Err(Tell::Bits), "{length}");
    }
    assert_eq!(judge(&over_and_over(line, 40)), Ok(()), "fewer bits than the chance allows");
}

#[test]
fn one_bit_that_hardly_changes_is_enough() {
    let mut bytes = ciphertext(1, 2000);
    bytes.iter_mut().step_by(2).for_each(|byte| *byte &= 0x7f);
    assert_eq!(judge(&bytes), Err(Tell::Bits));
}

#[test]
fn a_byte_that_comes_far_too_often_is_enough() {
    let mut bytes = ciphertext(2, 2000);
    bytes.iter_mut().step_by(20).for_each(|byte| *byte = 0x5a);
    assert_eq!(judge(&bytes), Err(Tell::Frequent));
}

#[test]
fn bytes_that_are_merely_uneven_are_enough_of_them() {
    // Three in four have an even number of bits, which shows in no single bit, and in no single byte so soon.
    let uneven = |length| -> Vec<u8> {
        let weighed = |(byte, spare): (u8, u8)| {
            if byte.count_ones() % 2 == 1 && spare & 8 > 0 { byte ^ (1 << (spare & 7)) } else { byte }
        };
        ciphertext(3, length).into_iter().zip(ciphertext(4, length)).map(weighed).collect()
    };
    assert_eq!(judge(&uneven(10_000)), Err(Tell::Uneven));
    assert_eq!(judge(&uneven(100)), Ok(()));
}

#[test]
fn padding_is_found_anywhere() {
    for filler in [0, b' ', b'-', 0xff] {
        let mut bytes = ciphertext(5, 1_000_000);
        bytes.splice(700_001..700_024, [filler; 23]);
        assert_eq!(judge(&bytes), Err(Tell::Repetition), "{filler}");
    }
}

#[test]
fn well_known_beginnings_are_named() {
    let head: [(&str, &[u8]); 12] = [
        ("gzip", b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03"),
        ("zstd", b"\x28\xb5\x2f\xfd\x24"),
        ("restic's compressed JSON", b"\x02\x28\xb5\x2f\xfd\x24"),
        ("lz4", b"\x04\x22\x4d\x18\x64\x40"),
        ("xz", b"\xfd7zXZ\x00"),
        ("bzip2", b"BZh91AY&SY"),
        ("zip", b"PK\x03\x04\x14\x00"),
        ("7z", b"7z\xbc\xaf\x27\x1c"),
        ("ELF", b"\x7fELF\x02\x01\x01"),
        ("PNG", b"\x89PNG\r\n\x1a\n"),
        ("PDF", b"%PDF-1.7"),
        ("JPEG", b"\xff\xd8\xff\xe0\x00\x10JFIF"),
    ];
    for (what, head) in head {
        let bytes = [head, &ciphertext(6, 200)].concat();
        assert_eq!(judge(&bytes), Err(Tell::Format(what)));
        let mut pieces = Sample::default();
        bytes.iter().for_each(|byte| pieces.take_in(&[*byte]));
        assert_eq!(pieces.judge(), Err(Tell::Format(what)), "byte by byte");
    }
}

#[test]
fn what_comes_in_pieces_is_counted_as_what_comes_at_once() {
    let bytes = over_and_over(b"config interface wan\n\toption proto dhcp\n", 10_000);
    for piece in [1, 3, 4, 7, 1000] {
        let mut sample = Sample::default();
        bytes.chunks(piece).for_each(|bytes| sample.take_in(bytes));
        let mut whole = Sample::default();
        whole.take_in(&bytes);
        assert_eq!(sample.histogram(), whole.histogram(), "{piece}");
        assert_eq!(sample.judge(), Err(Tell::Bits), "{piece}");
    }
}

#[test]
fn each_threshold_is_where_its_chance_says() {
    // So many highest bits of 155 are missing with a chance of 2^-40 at most, divided among sixteen.
    let ascii = |text: usize| -> Vec<u8> {
        let bytes = ciphertext(7, 155).into_iter().enumerate();
        bytes.map(|(at, byte)| if at < text { byte & 0x7f } else { byte | 0x80 }).collect()
    };
    assert!(bits(&histogram_of(&ascii(120))) > -FALSE_ALARM_BITS * LN_2);
    assert!(bits(&histogram_of(&ascii(130))) < -FALSE_ALARM_BITS * LN_2);
    // All the same: 256 values, 256^-(n-1) exactly, of which the bound is 256 times as much.
    let same = frequent(&histogram_of(&[7; 10]));
    assert!((same - (256_f64.ln() - 10.0 * 256_f64.ln())).abs() < 1e-9, "{same}");
    assert!(uneven(&[100.0; 256]).abs() < 1e-9, "what is perfectly even is not uneven");
}

fn histogram_of(bytes: &[u8]) -> Vec<f64> {
    let mut sample = Sample::default();
    sample.take_in(bytes);
    sample.histogram()
}
