//! The typed methods that a cursor and what it runs over have in common.

/// Writes, for each type, the method of a cursor and the method by position, both also for an optional field.
macro_rules! accessors {
    ($cursor:ident, $whole:ident, $lt:lifetime: $($name:ident, $opt:ident -> $ty:ty, $what:literal;)*) => {
        impl<$lt> $cursor<$lt> {
            $(
                #[doc = concat!("Reads the next field, ", $what, ".")]
                ///
                /// # Errors
                /// `Misfit` where the field has another type.
                pub fn $name(&mut self) -> Result<$ty, Error> {
                    self.get()
                }

                #[doc = concat!("Reads the next field, optional: null or ", $what, ".")]
                ///
                /// # Errors
                /// `Misfit` where the field has another type.
                pub fn $opt(&mut self) -> Result<Option<$ty>, Error> {
                    self.opt()
                }
            )*
        }

        impl $whole<'_> {
            $(
                #[doc = concat!("The field at a position (from 0), ", $what, ".")]
                ///
                /// # Errors
                /// `Misfit` where the field has another type.
                pub fn $name<$lt>(&$lt self, index: usize) -> Result<$ty, Error> {
                    self.at(index)?.get()
                }

                #[doc = concat!("The field at a position (from 0), optional: null or ", $what, ".")]
                ///
                /// # Errors
                /// `Misfit` where the field has another type.
                pub fn $opt<$lt>(&$lt self, index: usize) -> Result<Option<$ty>, Error> {
                    self.at(index)?.opt()
                }
            )*

            fn at(&self, index: usize) -> Result<$cursor<'_>, Error> {
                let mut fields = self.fields();
                for _ in 0..index {
                    fields.skip()?;
                }
                Ok(fields)
            }

            /// Whether the field at a position (from 0) is null, or beyond the last one.
            pub fn is_null(&self, index: usize) -> bool {
                self.at(index).is_ok_and(|fields| fields.is_null())
            }
        }
    };
}

pub(crate) use accessors;
