//! XML 1.0, read in a stream.

use std::fs::File;
use std::io::BufReader;
use std::time::Instant;

use xml::reader::{EventReader, ParserConfig, XmlEvent};

use super::{PARSE_TIME, Rejection, tidy};

/// The deepest nesting of elements: configurations have a dozen.
const MAX_DEPTH: usize = 256;
/// The most attributes of one element; the parser compares each with the others.
const MAX_ATTRIBUTES: usize = 1024;
/// The longest value of an attribute, in bytes.
const MAX_ATTRIBUTE_BYTES: usize = 1 << 20;
/// The longest text between two tags, in bytes: certificates and lists of addresses are long, but not so long.
const MAX_TEXT_BYTES: usize = 16 << 20;
/// The longest name, in bytes.
const MAX_NAME_BYTES: usize = 1024;

pub(super) fn check(file: File, root: Option<&str>) -> Result<(), Rejection> {
    let begun = Instant::now();
    let mut reader = EventReader::new_with_config(BufReader::new(file), limits());
    let mut depth = 0_usize;
    loop {
        match reader.next().map_err(|error| wrong(&error.to_string()))? {
            // Entities that a document defines itself are how small files become large ones, and no configuration needs them.
            XmlEvent::Doctype { .. } => {
                return Err(wrong("it has a document type (<!DOCTYPE), which is not looked into"));
            }
            XmlEvent::StartElement { name, .. } => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return Err(wrong(&format!("its elements are nested more than {MAX_DEPTH} deep")));
                }
                if let (1, Some(root)) = (depth, root)
                    && name.local_name != root
                {
                    return Err(Rejection(format!("its root element is <{}>, not <{root}>", tidy(&name.local_name))));
                }
            }
            XmlEvent::EndElement { .. } => depth = depth.saturating_sub(1),
            XmlEvent::EndDocument => return Ok(()),
            _ => {}
        }
        if begun.elapsed() > PARSE_TIME {
            return Err(wrong(&format!("it can't be parsed within {} s", PARSE_TIME.as_secs())));
        }
    }
}

fn limits() -> ParserConfig {
    ParserConfig::new()
        .allow_multiple_root_elements(false)
        .coalesce_characters(false)
        .max_entity_expansion_depth(1)
        .max_entity_expansion_length(MAX_NAME_BYTES)
        .max_attributes(MAX_ATTRIBUTES)
        .max_attribute_length(MAX_ATTRIBUTE_BYTES)
        .max_data_length(MAX_TEXT_BYTES)
        .max_name_length(MAX_NAME_BYTES)
}

fn wrong(why: &str) -> Rejection {
    Rejection(format!("it is no good XML: {}", tidy(why)))
}
