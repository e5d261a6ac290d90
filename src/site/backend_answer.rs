//! What a backend has answered, as the rest of the room reads it.

/// Name and value of a field.
pub(super) type Field = (Box<[u8]>, Box<[u8]>);

/// What a backend has answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Status; 502 or 504 where there is no answer.
    pub status: u16,
    /// Fields in order.
    pub fields: Vec<Field>,
}

impl Answer {
    /// The first field of this name, whatever its letter case.
    pub(crate) fn field(&self, name: &[u8]) -> Option<&[u8]> {
        self.fields.iter().find(|(sent, _)| sent.eq_ignore_ascii_case(name)).map(|(_, value)| &**value)
    }

    /// The field of `$upstream_http_NAME`: lower-cased, `_` for `-`.
    pub(crate) fn field_variable(&self, name: &[u8]) -> Option<&[u8]> {
        let is_named = |sent: &[u8]| {
            sent.len() == name.len()
                && sent
                    .iter()
                    .zip(name)
                    .all(|(&sent, &wanted)| wanted == if sent == b'-' { b'_' } else { sent.to_ascii_lowercase() })
        };
        self.fields.iter().find(|(sent, _)| is_named(sent)).map(|(_, value)| &**value)
    }

    /// The value the backend gives a cookie.
    pub(crate) fn cookie(&self, name: &[u8]) -> Option<&[u8]> {
        self.fields.iter().filter(|(sent, _)| sent.eq_ignore_ascii_case(b"set-cookie")).find_map(|(_, value)| {
            let pair = value.split(|byte| *byte == b';').next()?;
            pair.strip_prefix(name)?.strip_prefix(b"=")
        })
    }
}
