//! Luau text made from a package's schemas, which takes tables apart and puts them together: so a row crosses in one
//! call, as its fields.
//!
//! The glue is the short way and nothing more. Where a table does not fit its schema, or a schema has what the glue does
//! not know, it says nothing itself: it goes the way by tables (`marshal`), which converts or refuses it.

use engine_core::catalog::{Catalog, Storage, StorageId};
use engine_core::manifest::{ExtensionDecl, PackageManifest, Verb};
use engine_core::schema::{Schema, Type};

/// How many fields a record has at most: the names in a table are compared with each.
const WIDTH: usize = 16;

/// How many fields the native functions take without an allocation.
const FEW: usize = 6;

/// How many storages of a package have glue: they are looked for one by one.
const STORAGES: usize = 64;

/// What the glue begins with: all that it uses is local, out of the guest's reach.
const HEAD: &str = "local native, host = ...
local next, type = next, type
local entries, steps = {}, {}
";

/// The text, which takes the native functions and the table `host`. It replaces functions of `host` and gives two tables:
/// - by the number of an extension, from one: a function that takes the guest's and gives the one to call instead, with
///   a table of arguments, or nil and the arguments as values. That gives the result, and where it can, true and the
///   fields of the result.
/// - by the number of a storage: a function that takes another and the fields of a key and a value, and calls it with two
///   tables.
pub(crate) fn source(manifest: &PackageManifest) -> String {
    let mut text = HEAD.to_owned();
    for (function, verb) in [("get", Verb::Read), ("must_exist", Verb::Read)] {
        text += &replacement(manifest, function, "storage, key", verb, get);
    }
    for (function, verb) in [
        ("new_value", Verb::Insert),
        ("update_value", Verb::Update),
        ("put_value", Verb::Put),
    ] {
        text += &replacement(manifest, function, "storage, key, value", verb, write);
    }
    text += &replacement(manifest, "delete", "storage, key", Verb::Delete, delete);
    for (id, storage) in reachable(manifest, Verb::Read) {
        if fits(&storage.value) {
            text += &step(id, storage);
        }
    }
    for (number, declared) in (1..).zip(&manifest.extensions) {
        text += &entry(number, declared);
    }
    text + "return entries, steps\n"
}

/// Whether the glue knows a record: few fields, whose names are plain names in Luau too.
pub(crate) fn fits(schema: &Schema) -> bool {
    let known = |ty: &Type| !matches!(ty, Type::CommandArgs | Type::CommandResult);
    let mut fields = schema.fields().iter();
    schema.len() <= WIDTH && fields.all(|field| known(&field.ty) && is_name(&field.name))
}

/// The words that Luau keeps for itself.
const RESERVED: [&str; 21] = [
    "and", "break", "do", "else", "elseif", "end", "false", "for", "function", "if", "in", "local",
    "nil", "not", "or", "repeat", "return", "then", "true", "until", "while",
];

fn is_name(name: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    name.starts_with(|c: char| word(c) && !c.is_ascii_digit())
        && name.chars().all(word)
        && !RESERVED.contains(&name)
}

/// The storages in which some extension of the package may do this.
fn reachable(
    manifest: &PackageManifest,
    verb: Verb,
) -> impl Iterator<Item = (StorageId, &Storage)> {
    let catalog: &Catalog = &manifest.catalog;
    // The host's own last, which are used less.
    let ids = (0..catalog.len()).rev().map(|id| StorageId(id as u16));
    let may = move |id: &StorageId| {
        let mut extensions = manifest.extensions.iter();
        extensions.any(|extension| extension.verbs(*id).has(verb))
    };
    let storages = ids.filter(may).map(|id| (id, catalog.storage(id)));
    storages
        .filter(|(_, storage)| fits(&storage.key))
        .take(STORAGES)
}

/// A function of `host` that goes the short way where there is one.
fn replacement(
    manifest: &PackageManifest,
    function: &str,
    parameters: &str,
    verb: Verb,
    short: impl Fn(StorageId, &Storage) -> Option<String>,
) -> String {
    let mut body = String::new();
    for (id, storage) in reachable(manifest, verb) {
        if let Some(short) = short(id, storage) {
            body += &format!("if storage == {:?} then {short} end\n", storage.name);
        }
    }
    format!(
        "do local few, any, long = native.{function}_few, native.{function}_any, host.{function}
function host.{function}({parameters})
{body}return long({parameters})
end end
"
    )
}

/// A call of the native function with the fields of these records.
fn ask(id: StorageId, records: &[(&str, &Schema)]) -> String {
    let fields: usize = records.iter().map(|(_, schema)| schema.len()).sum();
    let function = if fields <= FEW { "few" } else { "any" };
    let list = |first: String, (prefix, schema): &(&str, &Schema)| list(&first, prefix, schema);
    let arguments = records.iter().fold(id.0.to_string(), list);
    format!("{function}({arguments})")
}

/// The native function gives true and the fields, another answer, or false where it cannot tell.
fn get(id: StorageId, storage: &Storage) -> Option<String> {
    let (found, put) = if fits(&storage.value) {
        let found = list("found", "v", &storage.value);
        let put = table("v", &storage.value);
        (found, format!("if found == true then return {put} end"))
    } else {
        ("found".to_owned(), String::new())
    };
    let call = ask(id, &[("k", &storage.key)]);
    let call = format!("local {found} = {call} {put} if found ~= false then return found end");
    Some(if storage.key.is_empty() {
        format!("if key == nil then {call} end")
    } else {
        with_fields("key", "k", &storage.key, "return long(storage, key)", &call)
    })
}

/// The native function gives whether it wrote.
fn write(id: StorageId, storage: &Storage) -> Option<String> {
    if !fits(&storage.value) {
        return None;
    }
    let call = ask(id, &[("k", &storage.key), ("v", &storage.value)]);
    let call = format!("if {call} then return end");
    let otherwise = "return long(storage, key, value)";
    let inner = with_fields("value", "v", &storage.value, otherwise, &call);
    Some(with_fields("key", "k", &storage.key, otherwise, &inner))
}

fn delete(id: StorageId, storage: &Storage) -> Option<String> {
    let call = format!("if {} then return end", ask(id, &[("k", &storage.key)]));
    let otherwise = "return long(storage, key)";
    Some(with_fields("key", "k", &storage.key, otherwise, &call))
}

fn step(id: StorageId, storage: &Storage) -> String {
    let parameters = list(&list("each", "k", &storage.key), "v", &storage.value);
    let (key, value) = (table("k", &storage.key), table("v", &storage.value));
    let id = id.0;
    format!("steps[{id}] = function({parameters}) each({key}, {value}) end\n")
}

fn entry(number: usize, declared: &ExtensionDecl) -> String {
    let (parameters, put) = if fits(&declared.args) {
        let put = table("a", &declared.args);
        let put = format!("if args == nil then args = {put} end");
        (list("args", "a", &declared.args), put)
    } else {
        ("args".to_owned(), String::new())
    };
    let take = if fits(&declared.result) && !declared.result.is_empty() {
        let give = format!("return row, {}", list("true", "v", &declared.result));
        with_fields("row", "v", &declared.result, "return row", &give)
    } else {
        String::new()
    };
    // Rust sees a native integer as it sees a number, and can ask only of one in a table.
    let alone = match declared.result.fields() {
        [field] if field.ty == Type::Int => format!(
            "if type(row) == \"integer\" then return {{[{:?}] = row}} end",
            field.name
        ),
        _ => String::new(),
    };
    format!(
        "entries[{number}] = function(f) return function({parameters})
{put}
local row = f(args)
{take}
{alone}
return row
end end
"
    )
}

/// Takes the fields of a table into locals and goes on, or ends otherwise where it has any other: raw, since metatables
/// add no fields. What is no table comes out of it behind.
fn with_fields(table: &str, prefix: &str, schema: &Schema, otherwise: &str, then: &str) -> String {
    let (mut locals, mut take) = (String::new(), String::new());
    for (number, field) in schema.fields().iter().enumerate() {
        locals += &format!("local {prefix}{number} ");
        take += &format!(
            "if name == \"{}\" then {prefix}{number} = field else",
            field.name
        );
    }
    let take = match schema.is_empty() {
        true => otherwise.to_owned(),
        false => format!("{take} {otherwise} end"),
    };
    format!(
        "if type({table}) == \"table\" then {locals} for name, field in next, {table} do {take} end
{then} end"
    )
}

/// A list that goes on with the locals of a record.
fn list(first: &str, prefix: &str, schema: &Schema) -> String {
    let locals = (0..schema.len()).map(|number| format!(", {prefix}{number}"));
    first.to_owned() + &locals.collect::<String>()
}

/// A table of the locals of a record.
fn table(prefix: &str, schema: &Schema) -> String {
    let fields = schema.fields().iter().enumerate();
    let fields = fields.map(|(number, field)| format!("{} = {prefix}{number}, ", field.name));
    format!("{{{}}}", fields.collect::<String>())
}
