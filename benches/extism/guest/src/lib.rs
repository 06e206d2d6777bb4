//! The order command as an Extism plugin.
//!
//! Arguments, keys and values are little-endian 64-bit numbers, keys behind one byte for the storage: of all encodings
//! this costs least.

use extism_pdk::{host_fn, plugin_fn, Error, FnResult};

#[host_fn]
extern "ExtismHost" {
    fn get(key: Vec<u8>) -> Vec<u8>;
    fn put(key: Vec<u8>, value: Vec<u8>);
}

/// Nothing at all.
#[plugin_fn]
pub fn empty() -> FnResult<()> {
    Ok(())
}

/// Input: order, customer, item, quantity.
#[plugin_fn]
pub fn order(input: Vec<u8>) -> FnResult<()> {
    let [order, customer, item, quantity] = numbers(&input)?;
    let (of_item, of_customer) = (key(b'i', item), key(b'c', customer));
    let (item_row, customer_row) = unsafe { (get(of_item.clone())?, get(of_customer.clone())?) };
    let [stock, price] = numbers(&item_row)?;
    let [balance] = numbers(&customer_row)?;
    if quantity < 1 || quantity > stock {
        return Err(Error::msg("not that many are in stock").into());
    }
    let total = quantity
        .checked_mul(price)
        .filter(|total| *total <= balance)
        .ok_or_else(|| Error::msg("the balance does not suffice"))?;
    unsafe {
        put(of_item, bytes([stock - quantity, price]))?;
        put(of_customer, bytes([balance - total]))?;
        put(key(b'o', order), bytes([customer, item, quantity, total]))?;
    }
    Ok(())
}

fn key(storage: u8, number: i64) -> Vec<u8> {
    let mut key = vec![storage];
    key.extend(number.to_le_bytes());
    key
}

fn bytes<const N: usize>(numbers: [i64; N]) -> Vec<u8> {
    numbers
        .iter()
        .flat_map(|number| number.to_le_bytes())
        .collect()
}

fn numbers<const N: usize>(row: &[u8]) -> Result<[i64; N], Error> {
    if row.len() != N * 8 {
        return Err(Error::msg("no such row"));
    }
    let mut numbers = [0; N];
    for (number, eight) in numbers.iter_mut().zip(row.chunks_exact(8)) {
        *number = i64::from_le_bytes(eight.try_into()?);
    }
    Ok(numbers)
}
