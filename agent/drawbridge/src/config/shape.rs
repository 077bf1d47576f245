//! Values that may be written in more than one way.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};
use toml::Spanned;

/// One text, or an array of them.
#[derive(Debug)]
pub(super) enum Several {
    One(String),
    Many(Vec<Spanned<String>>),
}

impl Several {
    /// All of them, each with its place.
    pub(super) fn all(written: &Spanned<Self>) -> Vec<Spanned<String>> {
        match written.get_ref() {
            Self::One(text) => vec![Spanned::new(written.span(), text.clone())],
            Self::Many(texts) => texts.clone(),
        }
    }
}

/// A number of bytes, or a text such as `10 KiB`.
#[derive(Debug)]
pub(super) enum Quantity {
    Bytes(i64),
    Text(String),
}

/// Whether something must be mounted: under every path, or here.
#[derive(Debug)]
pub(super) enum MountWish {
    Paths(bool),
    Here(Several),
}

macro_rules! shaped {
    ($type:ty, $visitor:ident, $expecting:literal, { $($visit:item)* }) => {
        struct $visitor;

        impl<'de> Visitor<'de> for $visitor {
            type Value = $type;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str($expecting)
            }

            $($visit)*
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any($visitor)
            }
        }
    };
}

fn texts<'de, A: SeqAccess<'de>>(mut array: A) -> Result<Several, A::Error> {
    let mut texts = Vec::new();
    while let Some(text) = array.next_element::<Spanned<String>>()? {
        texts.push(text);
    }
    Ok(Several::Many(texts))
}

shaped!(Several, SeveralVisitor, "a text in quotes or an array of them", {
    fn visit_str<E: Error>(self, text: &str) -> Result<Several, E> {
        Ok(Several::One(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, array: A) -> Result<Several, A::Error> {
        texts(array)
    }
});

shaped!(Quantity, QuantityVisitor, "a size such as \"10 KiB\", or a number of bytes", {
    fn visit_i64<E: Error>(self, bytes: i64) -> Result<Quantity, E> {
        Ok(Quantity::Bytes(bytes))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Quantity, E> {
        Ok(Quantity::Text(text.to_owned()))
    }
});

shaped!(MountWish, MountVisitor, "true, a folder in quotes or an array of them", {
    fn visit_bool<E: Error>(self, wish: bool) -> Result<MountWish, E> {
        Ok(MountWish::Paths(wish))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<MountWish, E> {
        Ok(MountWish::Here(Several::One(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, array: A) -> Result<MountWish, A::Error> {
        texts(array).map(MountWish::Here)
    }
});
