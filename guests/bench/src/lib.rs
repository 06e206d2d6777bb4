//! The benches' guest in Rust: a small shop's order command, and the smaller things that it is made of.
//!
//! `benches/guests/bench.lua` has the same extensions in Lua. Their arguments and the storages are declared in
//! `benches/application.rs`.

use extengine_guest::{Error, Row, State, extension, key, row};

/// How many items there are.
const ITEMS: i64 = 10_000;

/// Does nothing.
#[extension(command)]
pub fn empty(_: &mut State, _: &Row) -> Result<(), Error> {
    Ok(())
}

/// Reads an item. Arguments: item.
#[extension(command)]
pub fn read_one(state: &mut State, args: &Row) -> Result<(), Error> {
    let item = state.must_exist(&key("item").int(args.int(0)?))?;
    in_stock(item.int(0)?, 1)
}

/// Takes one of an item out of stock: one read and one intent. Arguments: item.
#[extension(command)]
pub fn read_write(state: &mut State, args: &Row) -> Result<(), Error> {
    take_one(state, args.int(0)?)
}

/// Takes one each of ten items out of stock: ten reads and ten intents. Arguments: item, the first one.
#[extension(command)]
pub fn ten(state: &mut State, args: &Row) -> Result<(), Error> {
    let first = args.int(0)?;
    for n in first..first + 10 {
        take_one(state, n % ITEMS)?;
    }
    Ok(())
}

/// Sells an item to a customer: two reads and three intents. Arguments: id, customer, item, quantity.
#[extension(command)]
pub fn order(state: &mut State, args: &Row) -> Result<(), Error> {
    let mut args = args.fields();
    let (id, customer, item, quantity) = (args.int()?, args.int()?, args.int()?, args.int()?);
    let item_key = key("item").int(item);
    let customer_key = key("customer").int(customer);
    let found = state.must_exist(&item_key)?;
    let (stock, price) = (found.int(0)?, found.int(1)?);
    let balance = state.must_exist(&customer_key)?.int(0)?;
    in_stock(stock, quantity)?;
    let total = price * quantity;
    if balance < total {
        return Err(Error::rejected("the customer has too little money"));
    }
    state.update_value(&item_key, &row().int(stock - quantity).int(price));
    state.update_value(&customer_key, &row().int(balance - total));
    let order = row().int(customer).int(item).int(quantity).int(total);
    state.new_value(&key("order").int(id), &order);
    Ok(())
}

/// Takes bytes. Arguments: data.
#[extension(command)]
pub fn payload(_: &mut State, args: &Row) -> Result<(), Error> {
    if args.bytes(0)?.is_empty() {
        return Err(Error::rejected("no bytes"));
    }
    Ok(())
}

/// Reads a group of blobs and answers the number of bytes of their rows, which it does not take apart. Arguments: group.
#[extension(query)]
pub fn scan(state: &mut State, args: &Row) -> Result<(), Error> {
    let mut bytes = 0;
    state.read(&key("blob").int(args.int(0)?), |_, _, row| {
        bytes += row.as_bytes().len() as i64;
        Ok(())
    })?;
    state.result(&row().int(bytes));
    Ok(())
}

/// Goes round a loop, and answers a number that needs every round. Arguments: steps.
#[extension(function, name = "Loop")]
pub fn spin(state: &mut State, args: &Row) -> Result<(), Error> {
    let mut x = 0;
    for step in 0..args.int(0)? {
        x = step - x;
    }
    state.result(&row().int(x));
    Ok(())
}

fn take_one(state: &mut State, item: i64) -> Result<(), Error> {
    let item_key = key("item").int(item);
    let found = state.must_exist(&item_key)?;
    let (stock, price) = (found.int(0)?, found.int(1)?);
    in_stock(stock, 1)?;
    state.update_value(&item_key, &row().int(stock - 1).int(price));
    Ok(())
}

fn in_stock(stock: i64, wanted: i64) -> Result<(), Error> {
    if stock < wanted {
        return Err(Error::rejected("too few in stock"));
    }
    Ok(())
}
