//! Lines on standard output for every stream.

use super::any::{Extension, Read, extension};
use super::format::LogFormat;
use super::reader::Reader;

/// The only file that access logs are written to.
const STDOUT: &str = "/dev/stdout";

const LOGS: &[Extension<LogFormat>] = &[
    Extension {
        names: &["envoy.access_loggers.stdout", "envoy.stdout_access_log"],
        types: &["envoy.extensions.access_loggers.stream.v3.StdoutAccessLog"],
        read: Read::By(|r| format(r).unwrap_or_default()),
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

/// Reads `access_log`: the formats of the lines to write.
pub(super) fn read(reader: &Reader<'_>) -> Vec<LogFormat> {
    let logs = reader.messages("access_log", |r| {
        r.refuse("filter", "every stream is logged: remove it");
        extension(r, LOGS)
    });
    logs.into_iter().flatten().collect()
}

fn file(reader: &Reader<'_>) -> LogFormat {
    let path = reader.need_text("path", STDOUT);
    if !path.is_empty() && path != STDOUT {
        let message = format!("access logs go to standard output alone: use `path: {STDOUT}`");
        reader.problem_at("path", message);
    }
    reader.at_most_one(&["log_format", "format"]);
    let legacy = reader.has("format").then(|| text(reader, "format"));
    format(reader).or(legacy).unwrap_or_default()
}

fn format(reader: &Reader<'_>) -> Option<LogFormat> {
    let format = reader.message("log_format", |r| {
        let json = "write the JSON as `text_format_source: { inline_string: ... }`";
        r.refuse("json_format", json);
        match r.one_of(&["text_format", "text_format_source"]) {
            Some("text_format_source") => r.message("text_format_source", |r| {
                r.refuse("filename", "write the format as `inline_string`");
                text(r, "inline_string")
            }),
            _ => Some(text(r, "text_format")),
        }
    });
    format.flatten()
}

fn text(reader: &Reader<'_>, field: &'static str) -> LogFormat {
    let format = LogFormat::parse(&reader.need_text(field, "\"%RESPONSE_CODE%\\n\""));
    let report = |message: &String| reader.problem_at(field, message.as_str());
    format.inspect_err(report).unwrap_or_default()
}
