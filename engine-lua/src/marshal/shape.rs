//! Schemas in one sandbox, ready to convert by.

use engine_core::schema::{Field as SchemaField, Schema, Type};
use engine_core::value::Value as Plain;
use mlua::{Lua, LuaString};

use crate::glue;

/// A schema in one sandbox, its field names ready as Lua strings.
#[derive(Debug)]
pub(crate) struct Record {
    pub(super) fields: Box<[Field]>,
    /// Whether the glue knows it.
    pub(super) glued: bool,
}

#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: Box<str>,
    pub(super) key: LuaString,
    pub(super) kind: Kind,
    pub(super) optional: bool,
    pub(super) default: Plain,
}

#[derive(Debug)]
pub(super) enum Kind {
    Bool,
    Int,
    Float,
    Text,
    Bytes,
    List(Box<Kind>),
    Record(Record),
}

impl Record {
    pub(crate) fn new(lua: &Lua, schema: &Schema) -> mlua::Result<Self> {
        let field = |field: &SchemaField| {
            Ok(Field {
                name: field.name.clone(),
                key: lua.create_string(&*field.name)?,
                kind: Kind::new(lua, &field.ty)?,
                optional: field.optional,
                default: field.default.clone(),
            })
        };
        let fields = schema.fields().iter().map(field);
        Ok(Self {
            fields: fields.collect::<mlua::Result<_>>()?,
            glued: glue::fits(schema),
        })
    }

    /// How many fields it has.
    pub(crate) fn len(&self) -> usize {
        self.fields.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }
}

impl Kind {
    fn new(lua: &Lua, ty: &Type) -> mlua::Result<Self> {
        Ok(match ty {
            Type::Bool => Self::Bool,
            Type::Int => Self::Int,
            Type::Float => Self::Float,
            Type::Text => Self::Text,
            Type::Bytes => Self::Bytes,
            Type::List(ty) => Self::List(Box::new(Self::new(lua, ty)?)),
            Type::Record(schema) => Self::Record(Record::new(lua, schema)?),
            // Events are read by their command's schemas, see `Marshal::event`.
            Type::CommandArgs | Type::CommandResult => {
                Self::Record(Record::new(lua, &Schema::default())?)
            }
        })
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Float => "float",
            Self::Text => "text",
            Self::Bytes => "bytes",
            Self::List(_) => "a list",
            Self::Record(_) => "a record",
        }
    }
}

/// A storage in one sandbox.
#[derive(Debug)]
pub(crate) struct StorageShape {
    pub(crate) key: Record,
    pub(crate) value: Record,
}

/// An extension in one sandbox.
#[derive(Debug)]
pub(crate) struct ExtensionShape {
    pub(crate) args: Record,
    pub(crate) result: Record,
}

/// A typed foreign function in one sandbox.
#[derive(Debug)]
pub(crate) struct ForeignShape {
    pub(crate) args: Record,
    pub(crate) result: Record,
}
