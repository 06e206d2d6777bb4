//! Lines on standard output for every stream.

use super::any::{Extension, Read, extension};
use super::reader::Reader;

/// The only file that access logs are written to.
const STDOUT: &str = "/dev/stdout";

/// An access log, which is written to standard output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessLog {
    /// The line's text with its operators, such as `%RESPONSE_CODE%`; the usual one where it is absent.
    pub format: Option<String>,
}

const LOGS: &[Extension<AccessLog>] = &[
    Extension {
        names: &["envoy.access_loggers.stdout", "envoy.stdout_access_log"],
        types: &["envoy.extensions.access_loggers.stream.v3.StdoutAccessLog"],
        read: Read::By(|r| AccessLog { format: format(r) }),
    },
    Extension {
        names: &["envoy.access_loggers.file", "envoy.file_access_log"],
        types: &[
            "envoy.extensions.access_loggers.file.v3.FileAccessLog",
            "envoy.config.accesslog.v2.FileAccessLog",
        ],
        read: Read::By(file),
    },
];

/// Reads `access_log`.
pub(super) fn read(reader: &Reader<'_>) -> Vec<AccessLog> {
    let logs = reader.messages("access_log", |r| {
        r.refuse("filter", "every stream is logged: remove it");
        extension(r, LOGS)
    });
    logs.into_iter().flatten().collect()
}

fn file(reader: &Reader<'_>) -> AccessLog {
    let path = reader.need_text("path", STDOUT);
    if !path.is_empty() && path != STDOUT {
        let message = format!("access logs go to standard output alone: use `path: {STDOUT}`");
        reader.report().problem(reader.place_of("path"), message);
    }
    let legacy = reader.has("format").then(|| reader.text("format"));
    let format = format(reader);
    if legacy.is_some() && format.is_some() {
        let message = "`format` excludes `log_format`: leave `log_format`";
        reader.report().problem(reader.place_of("format"), message);
    }
    AccessLog {
        format: format.or(legacy),
    }
}

fn format(reader: &Reader<'_>) -> Option<String> {
    let format = reader.message("log_format", |r| {
        r.refuse(
            "json_format",
            "write the JSON as `text_format_source: { inline_string: ... }`",
        );
        match r.one_of(&["text_format", "text_format_source"]) {
            Some("text_format_source") => r.message("text_format_source", |r| {
                r.refuse("filename", "write the format as `inline_string`");
                r.need_text("inline_string", "\"%RESPONSE_CODE%\\n\"")
            }),
            _ => Some(r.need_text("text_format", "\"%RESPONSE_CODE%\\n\"")),
        }
    });
    format.flatten()
}
