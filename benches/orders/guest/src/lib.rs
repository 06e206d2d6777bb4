//! The order command and what it needs, for WebAssembly and for the engine `builtin`.
//!
//! `orders.lua` beside this crate has the same extensions in Lua, function by function.
//!
//! | storage | key | value |
//! |---|---|---|
//! | `item` | item | stock, price |
//! | `customer` | customer | balance |
//! | `order` | order | customer, item, quantity, total |

use extengine_guest::{Error, Row, State, extension, key, row};

extengine_guest::package!("orders");

/// So much of everything that no order of a bench is refused.
const PLENTY: i64 = 1_000_000_000_000;

/// Arguments: shop, first, count. Fills the shop with that many items and customers, numbered from `first`.
#[extension(command)]
fn stock(state: &mut State, args: &Row) -> Result<(), Error> {
    let (first, count) = (args.int(1)?, args.int(2)?);
    for number in first..first.saturating_add(count) {
        let item = row().int(PLENTY).int(1 + number % 100);
        state.put_value(&key("item").int(number), &item);
        state.put_value(&key("customer").int(number), &row().int(PLENTY));
    }
    Ok(())
}

/// Arguments: shop, order, customer, item, quantity.
#[extension(command)]
fn order(state: &mut State, args: &Row) -> Result<(), Error> {
    let mut args = args.fields();
    let (_shop, order, customer) = (args.int()?, args.int()?, args.int()?);
    let (item, quantity) = (args.int()?, args.int()?);
    let of_item = key("item").int(item);
    let of_customer = key("customer").int(customer);

    let (stock, price) = {
        let item = state.must_exist(&of_item)?;
        let mut item = item.fields();
        (item.int()?, item.int()?)
    };
    let balance = state.must_exist(&of_customer)?.int(0)?;
    if quantity < 1 || quantity > stock {
        return Err(Error::rejected("not that many are in stock"));
    }
    let total = quantity
        .checked_mul(price)
        .filter(|total| *total <= balance)
        .ok_or_else(|| Error::rejected("the balance does not suffice"))?;

    state.update_value(&of_item, &row().int(stock - quantity).int(price));
    state.update_value(&of_customer, &row().int(balance - total));
    state.new_value(
        &key("order").int(order),
        &row().int(customer).int(item).int(quantity).int(total),
    );
    Ok(())
}

/// Arguments: shop, customer. Answers the customer's balance.
#[extension(query)]
fn balance(state: &mut State, args: &Row) -> Result<(), Error> {
    let customer = state.must_exist(&key("customer").int(args.int(1)?))?;
    state.result(&row().int(customer.int(0)?));
    Ok(())
}
