//! The attribute of the Rust SDK; `extengine-guest` exports and documents it.

use proc_macro::TokenStream;
use proc_macro2::{Span, TokenStream as Code};
use quote::{format_ident, quote};
use syn::parse::{End, Parse, ParseStream};
use syn::{Error, Ident, ItemFn, LitByteStr, LitStr, Result, Token, parse_macro_input};

/// Makes a function an extension; see `extengine_guest::extension`.
#[proc_macro_attribute]
pub fn extension(options: TokenStream, item: TokenStream) -> TokenStream {
    let options = parse_macro_input!(options as Options);
    let function = parse_macro_input!(item as ItemFn);
    register(&options, &function).into()
}

/// What stands in the attribute's parentheses.
struct Options {
    kind: Ident,
    name: Option<LitStr>,
}

const KINDS: [&str; 6] = [
    "command",
    "query",
    "validator",
    "projector",
    "function",
    "job",
];

impl Parse for Options {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let expected = format!("expected a kind: {}", KINDS.join(", "));
        let kind: Ident = match input.parse() {
            Ok(kind) if KINDS.iter().any(|name| kind == name) => kind,
            Ok(other) => return Err(Error::new(other.span(), expected)),
            Err(error) => return Err(Error::new(error.span(), expected)),
        };
        let mut name = None;
        if input.peek(Token![,]) && !input.peek2(End) {
            input.parse::<Token![,]>()?;
            let option: Ident = input.parse()?;
            if option != "name" {
                return Err(Error::new(option.span(), "expected `name = \"...\"`"));
            }
            input.parse::<Token![=]>()?;
            name = Some(usable(input.parse()?)?);
        }
        input.parse::<Option<Token![,]>>()?;
        Ok(Self { kind, name })
    }
}

/// Names cross the WASM boundary with a NUL behind them.
fn usable(name: LitStr) -> Result<LitStr> {
    let value = name.value();
    if value.is_empty() || value.contains('\0') {
        return Err(Error::new(
            name.span(),
            "a name is not empty and has no NUL",
        ));
    }
    Ok(name)
}

fn register(options: &Options, function: &ItemFn) -> Code {
    let kind = format_ident!("{}", camel_case(&options.kind.to_string()));
    let run = &function.sig.ident;
    let name = match &options.name {
        Some(name) => name.value(),
        None => camel_case(run.to_string().trim_start_matches("r#")),
    };
    let line = format!("{} {name}\n", options.kind);
    let bytes = LitByteStr::new(line.as_bytes(), Span::call_site());
    let len = line.len();
    quote! {
        #function

        // By this section a host finds out before it runs anything whether a module has what a manifest declares.
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            #[used]
            #[unsafe(link_section = "extengine.extensions")]
            static LINE: [u8; #len] = *#bytes;
        };

        extengine_guest::__private::inventory::submit! {
            extengine_guest::Extension {
                krate: env!("CARGO_PKG_NAME"),
                name: #name,
                kind: extengine_guest::ExtensionKind::#kind,
                // A closure, so that the function may take the state as `&State` too.
                run: |state, args| #run(state, args),
            }
        }
    }
}

fn camel_case(snake: &str) -> String {
    let words = snake.split('_').filter(|word| !word.is_empty());
    words
        .map(|word| {
            let (first, rest) = word.split_at(word.chars().next().map_or(0, char::len_utf8));
            first.to_uppercase() + rest
        })
        .collect()
}
