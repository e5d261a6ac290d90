//! The page on which the embedded layout is tried, as locations of that layout: one file each for text, looks and behaviour, so that its
//! policy can forbid everything that stands inline.
//!
//! Only for the layout that nobody has written: no configuration of a user's has it.

const PAGE: &str = include_str!("try_it/page.html");
const STYLE: &str = include_str!("try_it/page.css");
const SCRIPT: &str = include_str!("try_it/page.js");

/// What a browser may do for it: its own files, its own publisher, and subscribe on the other port.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' http://*:8893 ws://*:8893; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// For the server that is for this machine alone.
pub(super) fn locations() -> String {
    let fields = format!(
        "add_header Content-Security-Policy {}; add_header X-Content-Type-Options nosniff; add_header Cache-Control no-cache;",
        quoted(POLICY)
    );
    let location = |path: &str, kind: &str, text: &str| {
        format!(
            "        location = {path} {{\n            default_type \"{kind}; charset=utf-8\"; {fields}\n            return 200 {};\n        }}\n",
            quoted(text)
        )
    };
    [
        location("/", "text/html", PAGE),
        location("/try.css", "text/css", STYLE),
        location("/try.js", "text/javascript", SCRIPT),
    ]
    .concat()
}

/// For the server of everybody: whoever looks at it from this machine is shown the way.
pub(super) const SIGNPOST: &str = "        location = / {
            if ($remote_addr ~ \"^127[.]\") {
                return 302 http://127.0.0.1:8895/;
            }
            deny all;
        }
";

/// A text as one word of the configuration, in which nothing is a variable.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_the_page_is_taken_for_a_variable() {
        for text in [PAGE, STYLE, SCRIPT] {
            assert!(!text.contains('$') && !text.contains('\\'));
        }
    }

    #[test]
    fn nothing_stands_inline_that_its_policy_forbids() {
        let handlers = PAGE.split_whitespace().filter(|word| word.starts_with("on") && word.contains('=')).count();
        assert!(!PAGE.contains("<style") && !PAGE.contains(" style=") && handlers == 0);
        assert_eq!(PAGE.matches("<script").count(), PAGE.matches("<script src=").count());
    }
}
