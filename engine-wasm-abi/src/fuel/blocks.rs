//! Charges the basic blocks of one function body.

use wasm_encoder::{BlockType, Encode, Instruction};

use super::Costs;

/// The indices of what the rewrite adds to a module.
#[derive(Debug, Clone, Copy)]
pub(super) struct Added {
    pub(super) fuel: u32,
    pub(super) refill: u32,
}

/// A construct that branches may lead out of.
struct Frame {
    kind: Kind,
    /// Whether control can get into it.
    entered: bool,
    /// Whether control can get to its end other than by falling through.
    joined: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Block,
    Loop,
    If,
}

/// Copies a valid function body, instruction by instruction, and puts before
/// every stretch that has one way in, from above, the charge for all of it.
///
/// A stretch ends where control can join or fork: after `if`, `else` and `br_if`, at a loop's
/// head, and at the end of a construct that some branch leaves. Calls do not end it.
pub(super) struct Blocks<'a> {
    costs: &'a Costs,
    added: Added,
    /// The local that holds the length of a bulk operation.
    length_local: u32,
    uses_length_local: bool,
    /// The code up to the current stretch, with its charges.
    code: Vec<u8>,
    stretch: Vec<u8>,
    cost: u64,
    /// The stretch begins a function or a round of a loop, so it may not be free.
    must_charge: bool,
    /// Whether control can get here. What is dead is copied and costs nothing.
    live: bool,
    frames: Vec<Frame>,
}

impl<'a> Blocks<'a> {
    pub(super) fn new(costs: &'a Costs, added: Added, length_local: u32) -> Self {
        Self {
            costs,
            added,
            length_local,
            uses_length_local: false,
            code: Vec::new(),
            stretch: Vec::new(),
            cost: 0,
            must_charge: true,
            live: true,
            frames: vec![Frame {
                kind: Kind::Block,
                entered: true,
                joined: false,
            }],
        }
    }

    /// The charged code, and whether it needs the local for lengths.
    pub(super) fn finish(mut self) -> (Vec<u8>, bool) {
        self.cut();
        (self.code, self.uses_length_local)
    }

    pub(super) fn instruction(&mut self, instruction: &Instruction<'_>) {
        if self.live {
            self.cost = self.cost.saturating_add(self.price(instruction));
            self.charge_length(instruction);
        }
        instruction.encode(&mut self.stretch);
        match instruction {
            Instruction::Block(_) => self.enter(Kind::Block),
            Instruction::Loop(_) => {
                self.enter(Kind::Loop);
                self.cut();
                self.must_charge = self.live;
            }
            Instruction::If(_) => {
                self.enter(Kind::If);
                self.cut();
            }
            Instruction::Else => self.begin_else(),
            Instruction::End => self.end(),
            Instruction::Br(depth) => {
                self.branch(*depth);
                self.live = false;
            }
            Instruction::BrIf(depth) => {
                self.branch(*depth);
                self.cut();
            }
            Instruction::BrTable(depths, default) => {
                depths.iter().for_each(|depth| self.branch(*depth));
                self.branch(*default);
                self.live = false;
            }
            Instruction::Return | Instruction::Unreachable => self.live = false,
            _ => {}
        }
    }

    fn price(&self, instruction: &Instruction<'_>) -> u64 {
        match instruction {
            Instruction::Block(_)
            | Instruction::Loop(_)
            | Instruction::Else
            | Instruction::End
            | Instruction::Nop
            | Instruction::Drop
            | Instruction::Return
            | Instruction::Unreachable => 0,
            Instruction::Call(_) | Instruction::CallIndirect { .. } => self.costs.call.into(),
            _ => self.costs.instruction.into(),
        }
    }

    /// Charges a bulk operation for its length, which is on top of the stack.
    fn charge_length(&mut self, instruction: &Instruction<'_>) {
        let (rate, apply) = match instruction {
            Instruction::MemoryFill(_)
            | Instruction::MemoryCopy { .. }
            | Instruction::MemoryInit { .. } => {
                (self.costs.bytes_per_unit.get(), Instruction::I64DivU)
            }
            Instruction::TableFill(_)
            | Instruction::TableCopy { .. }
            | Instruction::TableInit { .. }
            | Instruction::TableGrow(_) => (self.costs.element.into(), Instruction::I64Mul),
            Instruction::MemoryGrow(_) => (self.costs.page.into(), Instruction::I64Mul),
            _ => return,
        };
        self.uses_length_local = true;
        let length = self.length_local;
        Instruction::LocalTee(length).encode(&mut self.stretch);
        let amount = [
            Instruction::LocalGet(length),
            Instruction::I64ExtendI32U,
            Instruction::I64Const(rate.into()),
            apply,
        ];
        charge(&mut self.stretch, self.added, &amount);
    }

    fn enter(&mut self, kind: Kind) {
        self.frames.push(Frame {
            kind,
            entered: self.live,
            joined: false,
        });
    }

    fn branch(&mut self, depth: u32) {
        let index = self.frames.len().checked_sub(depth as usize + 1);
        if self.live
            && let Some(frame) = index.and_then(|index| self.frames.get_mut(index))
            && frame.kind != Kind::Loop
        {
            frame.joined = true;
        }
    }

    fn begin_else(&mut self) {
        if let Some(frame) = self.frames.last_mut() {
            frame.joined |= self.live;
            // From here on it is like a block: control cannot skip it.
            frame.kind = Kind::Block;
            self.live = frame.entered;
        }
        self.cut();
    }

    fn end(&mut self) {
        let Some(frame) = self.frames.pop() else {
            return;
        };
        if frame.joined || (frame.kind == Kind::If && frame.entered) {
            self.live = true;
            self.cut();
        }
    }

    /// Ends the current stretch, now that its cost is known, and begins another.
    fn cut(&mut self) {
        let cost = self.cost.max(self.must_charge.into());
        if cost > 0 {
            let amount = [Instruction::I64Const(
                i64::try_from(cost).unwrap_or(i64::MAX),
            )];
            charge(&mut self.code, self.added, &amount);
        }
        self.code.append(&mut self.stretch);
        self.cost = 0;
        self.must_charge = false;
    }
}

/// Writes code that takes `amount` from the fuel, and has it refilled if that was too much.
fn charge(code: &mut Vec<u8>, added: Added, amount: &[Instruction<'_>]) {
    let before = [Instruction::GlobalGet(added.fuel)];
    let after = [
        Instruction::I64Sub,
        Instruction::GlobalSet(added.fuel),
        Instruction::GlobalGet(added.fuel),
        Instruction::I64Const(0),
        Instruction::I64LtS,
        Instruction::If(BlockType::Empty),
        Instruction::Call(added.refill),
        Instruction::End,
    ];
    for instruction in before.iter().chain(amount).chain(&after) {
        instruction.encode(code);
    }
}
