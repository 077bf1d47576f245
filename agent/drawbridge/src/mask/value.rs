//! What a value looks like, and where it ends.

/// What opens and closes a quoted value; longer ones first. Escaped ones are those of a text within a text.
const QUOTES: &[&str] =
    &["\"\"\"", "'''", "\\\\\\\"", "\\\"", "\\'", "&quot;", "&#34;", "&apos;", "&#39;", "\"", "'", "`"];

/// Folders that a path in a configuration begins with. A secret that begins with a slash, as one in base64 may, doesn't go on like this.
const TOP_FOLDERS: &[&str] = &[
    "/etc/", "/var/", "/usr/", "/opt/", "/root/", "/home/", "/run/", "/srv/", "/mnt/", "/tmp/", "/conf/", "/boot/",
    "/dev/", "/proc/", "/lib/", "/bin/", "/sbin/", "/media/", "~/.",
];

/// Words of which a sentence has some, and a password seldom.
const PROSE: &[&str] = &[
    "the", "is", "are", "was", "be", "must", "should", "for", "of", "to", "and", "or", "in", "has", "have", "will",
    "can", "from", "with", "this", "that", "when", "if", "not", "by", "an", "as", "on", "at", "it", "your", "you",
    "may", "which", "use", "used",
];

/// Words after `password` or `pass` that go on with a sentence, a log line or a packet filter's rule.
const GOES_ON: &[&str] = &[
    "changed",
    "authentication",
    "required",
    "requisite",
    "sufficient",
    "optional",
    "include",
    "all",
    "out",
    "quick",
    "log",
    "check",
    "auth",
    "expired",
    "hash",
    "hashes",
    "protected",
    "check,",
    "file",
    "files",
    "prompt",
    "policy",
    "manager",
    "database",
];

/// The quote that `text` begins with.
pub(super) fn opening_quote(text: &str) -> Option<&'static str> {
    QUOTES.iter().find(|quote| text.starts_with(**quote)).copied()
}

/// The quote that `text` ends with.
pub(super) fn quote_before(text: &str) -> Option<&'static str> {
    QUOTES.iter().find(|quote| text.ends_with(**quote)).copied()
}

/// Where `quote` closes in `text`, which begins behind the opening one.
pub(super) fn closing_quote(text: &str, quote: &str) -> Option<usize> {
    if !matches!(quote, "\"" | "'" | "`") {
        return text.find(quote);
    }
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        if !escaped && quote.starts_with(c) {
            return Some(at);
        }
        escaped = c == '\\' && !escaped;
    }
    None
}

/// What nobody would call a secret: a switch, a place holder, a file's name.
pub(super) fn is_harmless(value: &str) -> bool {
    const WORDS: &[&str] = &[
        "yes",
        "no",
        "true",
        "false",
        "on",
        "off",
        "none",
        "null",
        "nil",
        "~",
        "0",
        "1",
        "enabled",
        "disabled",
        "required",
        "optional",
        "*",
        "!",
        "!!",
        "x",
        "prohibit-password",
        "without-password",
        "{",
        "[",
        "}",
        "]",
        "(",
        "|",
        ">",
        "{}",
        "[]",
        "\"\"",
        "''",
        "default",
        "ask",
        "prompt",
    ];
    let value = value.trim().trim_end_matches([';', ',']);
    value.is_empty()
        || WORDS.contains(&value.to_ascii_lowercase().as_str())
        || is_reference(value)
        || (TOP_FOLDERS.iter().any(|folder| value.starts_with(folder)) && !value.contains([' ', '\t', '=', '+', ':']))
}

/// `${NAME}` and `{{ name }}` stand for a secret that is elsewhere.
fn is_reference(value: &str) -> bool {
    let inner = |open, close| value.strip_prefix(open).and_then(|rest| rest.strip_suffix(close));
    let name = |text: &str| {
        let text = text.trim();
        !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.'))
    };
    inner("${", "}").or_else(|| inner("{{", "}}")).is_some_and(name)
}

/// Whether a value looks like a key or a token: long, in one piece, and no word.
pub(super) fn is_opaque(value: &str) -> bool {
    /// Below this many characters, what looks random is mostly a name or a version.
    const SHORTEST: usize = 12;
    /// From this many bytes on, nothing in one piece is a word.
    const LONG: usize = 4096;
    let value = value.trim().trim_end_matches([';', ',']).trim_matches(['"', '\'']);
    if value.len() < SHORTEST || value.contains(char::is_whitespace) {
        return false;
    }
    if value.len() > LONG {
        return true;
    }
    let of = |test: fn(&char) -> bool| value.chars().any(|c| test(&c));
    let mixed = of(|c| c.is_ascii_digit())
        || (of(|c| c.is_ascii_lowercase()) && value.chars().skip(1).any(|c| c.is_ascii_uppercase()));
    mixed && of(|c| c.is_ascii_alphabetic())
}

/// Whether `text` is part of a sentence: three words or more, and some that sentences are made of.
pub(super) fn is_prose(text: &str) -> bool {
    let words: Vec<String> =
        text.split_whitespace().map(|word| word.trim_matches(['.', ',', '(', ')']).to_lowercase()).collect();
    words.len() >= 3 && words.iter().any(|word| PROSE.contains(&word.as_str()))
}

/// Whether `word`, behind a word such as `password`, goes on with a sentence.
pub(super) fn goes_on(word: &str) -> bool {
    let word = word.trim_matches(['.', ',', ';', ':', ')']).to_lowercase();
    word.is_empty() || PROSE.contains(&word.as_str()) || GOES_ON.contains(&word.as_str())
}
