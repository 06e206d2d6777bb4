//! A look through a script's text for what there is in LuaJIT and not here.

/// One line for each place that uses what is not here, with advice.
///
/// Comments and strings do not count, and neither do fields of tables: only names by themselves, and `os.getenv`. What a
/// script may ask for to see whether it is there counts where it is called.
pub(crate) fn refused(name: &str, source: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut scan = Scan {
        rest: source.as_bytes(),
        line: 1,
    };
    let mut before = b' ';
    while let Some(&byte) = scan.rest.first() {
        if scan.skip_comment() || scan.skip_string() {
            before = b' ';
        } else if byte.is_ascii_alphanumeric() || byte == b'_' {
            let word = scan.word();
            let follows = scan.after();
            if let Some(advice) = advice(word, before, follows, scan.rest) {
                found.push(format!("{name}:{}: {advice}", scan.line));
            }
            before = b' ';
        } else {
            // `..` joins texts and `::` ends a label, and what follows them is no field.
            let is_pair = matches!(byte, b'.' | b':') && before == byte;
            if is_pair {
                before = b' ';
            } else if !byte.is_ascii_whitespace() {
                before = byte;
            }
            scan.skip(1);
        }
    }
    found
}

fn advice(word: &[u8], before: u8, follows: &[u8], rest: &[u8]) -> Option<&'static str> {
    let next = follows.first().copied().unwrap_or(b' ');
    let is_field = matches!(before, b'.' | b':');
    let is_key = next == b'=' && follows.get(1) != Some(&b'=');
    match word {
        b"require" if !is_field && !is_key => Some(
            "`require` is not here: a script is one text, so put what it needs into it; `bit` is there without it",
        ),
        b"ffi" if !is_field && matches!(next, b'.' | b':' | b'[') => Some(
            "`ffi` is not here: native code is a native filter, and bytes are read with `string.unpack` or `buffer`",
        ),
        b"goto" if !is_field && begins_name(rest.trim_ascii_start()) && next_on_line(rest) => Some(
            "`goto` is not here: `continue` goes on with a loop's next round, and `return` leaves all loops of a function",
        ),
        b"loadstring" if !is_field && begins_call(follows) => Some(
            "`loadstring` is not here: a script runs no text that it makes, so write what it would run as a function",
        ),
        b"os" if !is_field => {
            let called = follows.strip_prefix(b".")?.trim_ascii_start();
            let called = called.strip_prefix(b"getenv")?.trim_ascii_start();
            begins_call(called).then_some(
                "`os.getenv` is not here: a script sees no environment; what differs from place to place goes into `filter_context` or metadata",
            )
        }
        _ => None,
    }
}

fn begins_name(text: &[u8]) -> bool {
    let first = text.first();
    first.is_some_and(|byte| byte.is_ascii_alphabetic() || *byte == b'_')
}

fn begins_call(text: &[u8]) -> bool {
    matches!(text.first(), Some(b'(' | b'"' | b'\'')) || text.starts_with(b"[[")
}

/// Whether something follows before the line ends; a name that ends one is a variable.
fn next_on_line(text: &[u8]) -> bool {
    let next = text.iter().find(|byte| !matches!(byte, b' ' | b'\t'));
    next.is_some_and(|&byte| byte != b'\n' && byte != b'\r')
}

struct Scan<'a> {
    rest: &'a [u8],
    line: usize,
}

impl<'a> Scan<'a> {
    fn skip(&mut self, bytes: usize) {
        let (skipped, rest) = self.rest.split_at(bytes.min(self.rest.len()));
        self.line += skipped.iter().filter(|&&byte| byte == b'\n').count();
        self.rest = rest;
    }

    fn word(&mut self) -> &'a [u8] {
        let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
        let len = self.rest.iter().take_while(|byte| is_word(byte)).count();
        let word = &self.rest[..len];
        self.rest = &self.rest[len..];
        word
    }

    /// What follows behind spaces and comments.
    fn after(&self) -> &'a [u8] {
        let mut ahead = Scan {
            rest: self.rest,
            line: 0,
        };
        while ahead.skip_comment() || ahead.rest.first().is_some_and(u8::is_ascii_whitespace) {
            if ahead.rest.first().is_some_and(u8::is_ascii_whitespace) {
                ahead.skip(1);
            }
        }
        ahead.rest
    }

    fn skip_comment(&mut self) -> bool {
        if !self.rest.starts_with(b"--") {
            return false;
        }
        self.skip(2);
        if !self.skip_long() {
            let end = self.rest.iter().position(|&byte| byte == b'\n');
            self.skip(end.unwrap_or(self.rest.len()));
        }
        true
    }

    fn skip_string(&mut self) -> bool {
        match self.rest.first() {
            Some(b'[') => self.skip_long(),
            Some(&quote @ (b'"' | b'\'' | b'`')) => {
                let mut len = 1;
                while let Some(&byte) = self.rest.get(len) {
                    len += if byte == b'\\' { 2 } else { 1 };
                    if byte == quote || (byte == b'\n' && quote != b'`') {
                        break;
                    }
                }
                self.skip(len);
                true
            }
            _ => false,
        }
    }

    /// Skips text in long brackets, such as `[==[`.
    fn skip_long(&mut self) -> bool {
        let Some(inner) = self.rest.strip_prefix(b"[") else {
            return false;
        };
        let level = inner.iter().take_while(|&&byte| byte == b'=').count();
        if inner.get(level) != Some(&b'[') {
            return false;
        }
        let mut close = vec![b'='; level + 2];
        (close[0], close[level + 1]) = (b']', b']');
        let end = self
            .rest
            .windows(close.len())
            .position(|window| window == close);
        self.skip(end.map_or(self.rest.len(), |end| end + close.len()));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(source: &str) -> Vec<String> {
        let refused = refused("s", source);
        let place = |line: &String| line.split(": ").next().map(str::to_owned);
        refused.iter().filter_map(place).collect()
    }

    #[test]
    fn require_and_ffi_are_refused_where_they_are_used() {
        let source =
            "local x = 1\nlocal f = require 'ffi'\nffi.cdef[[int f();]]\n\n  require(\"x\")";
        assert_eq!(lines(source), ["s:2", "s:3", "s:5"]);
        assert_eq!(lines("local t = 1 ..require('x')"), ["s:1"]);
        assert_eq!(lines("x = [[\n\n]] .. require --[[ c ]] ('y')"), ["s:3"]);
    }

    #[test]
    fn what_is_not_in_luau_is_refused_where_it_is_used() {
        let source = "for i = 1, 2 do\n if i then goto next end\n ::next::\nend\nloadstring('x')()\n\
            local v = os.getenv 'HOME' or os . getenv(\"X\")";
        assert_eq!(lines(source), ["s:2", "s:5", "s:6", "s:6"]);
        assert_eq!(lines("::again:: goto again"), ["s:1"]);
        let source = "local load = loadstring or load\nif os.getenv then end\nt.goto = { goto = 1 }\nlocal x = goto\ny = 1\n\
            t.os.getenv('x') os.time() t:loadstring('x') -- goto x\nos.getenvs()";
        assert_eq!(lines(source), [""; 0]);
    }

    #[test]
    fn comments_strings_and_fields_do_not_count() {
        let source = "-- require('x')\n--[==[ require ]]\nffi.x ]==]\nlocal s = \"require('x') \\\" ffi.y\"\n\
            local l = [[\nrequire]]\nt.require(1)\nt:require(1)\nlocal u = { require = 1 }\nlocal required, ffi_ = 1\n\
            local ffi = 1 + a[b[1]]\nlocal q = 'it\\'s require'";
        assert_eq!(lines(source), [""; 0]);
    }

    #[test]
    fn text_that_breaks_off_ends_the_scan() {
        for source in ["[[", "--[[", "'", "\"\\", "[==", "require", "`{", "--"] {
            refused("s", source);
        }
    }
}
