//! Pickles as data: what a pickle would build, without building it. Nothing of it is run.

use std::collections::HashMap;

/// Objects of a pickle; far more than a checkpoint has.
const MAX_NODES: usize = 1 << 22;

/// Index of a [`Node`] in [`Pickle::nodes`].
pub(super) type Id = usize;

/// The objects of one pickle. They refer to each other by index: they may be shared, and a list
/// may even hold itself.
#[derive(Debug)]
pub(super) struct Pickle<'a> {
    pub(super) nodes: Vec<Node<'a>>,
    pub(super) root: Id,
    /// Bytes of the pickle; in files of several, the next begins here.
    pub(super) len: usize,
}

/// One object.
#[derive(Debug)]
pub(super) enum Node<'a> {
    /// None, or a value that says nothing about weights: a float, bytes, a set.
    Other,
    Bool(bool),
    Int(i64),
    Text(&'a str),
    /// A class or function by module and name.
    Global(&'a str, &'a str),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    /// Keys and values in the order in which they were set.
    Dict(Vec<(Id, Id)>),
    /// A call, or an object of a class; `items` are what was put into it like into a dictionary.
    Call {
        callable: Id,
        args: Id,
        items: Vec<(Id, Id)>,
    },
    /// What the file keeps outside of the pickle.
    Persistent(Id),
}

impl<'a> Pickle<'a> {
    /// Reads a pickle of any protocol, 0 to 5.
    ///
    /// # Errors
    /// If it ends early or is no pickle.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, String> {
        Machine { bytes, at: 0, nodes: vec![], stack: vec![], marks: vec![], memo: HashMap::new() }
            .run()
    }

    /// The items of a tuple or list; none of anything else.
    pub(super) fn items(&self, id: Id) -> &[Id] {
        match &self.nodes[id] {
            Node::Tuple(items) | Node::List(items) => items,
            _ => &[],
        }
    }

    pub(super) fn text(&self, id: Id) -> Option<&'a str> {
        match self.nodes[id] {
            Node::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A number that counts something.
    pub(super) fn count(&self, id: Id) -> Option<usize> {
        match self.nodes[id] {
            Node::Int(value) => value.try_into().ok(),
            _ => None,
        }
    }

    /// What an object is an object of, as `torch.device`.
    pub(super) fn class(&self, mut id: Id) -> String {
        // Calls of what calls return: no class takes many.
        for _ in 0..8 {
            id = match &self.nodes[id] {
                Node::Call { callable, args, .. } => {
                    match (&self.nodes[*callable], self.items(*args)) {
                        // The helper that makes an object of the class that follows.
                        (Node::Global("copyreg" | "copy_reg", _), [class, ..]) => *class,
                        _ => *callable,
                    }
                }
                // The older format names the class of a module with its source.
                Node::Persistent(named) if self.items(*named).len() > 1 => self.items(*named)[1],
                Node::Global(module, name) => return format!("{module}.{name}"),
                Node::Tuple(_) => return "tuple".into(),
                Node::List(_) => return "list".into(),
                Node::Dict(_) => return "dict".into(),
                _ => break,
            };
        }
        "value".into()
    }
}

/// The stack machine that pickles are programs for.
struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    nodes: Vec<Node<'a>>,
    stack: Vec<Id>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: HashMap<u64, Id>,
}

impl<'a> Machine<'a> {
    fn run(mut self) -> Result<Pickle<'a>, String> {
        loop {
            let at = self.at;
            let opcode = self.take(1)?[0];
            if opcode == b'.' {
                let root = self.pop()?;
                return Ok(Pickle { nodes: self.nodes, root, len: self.at });
            }
            if self.nodes.len() > MAX_NODES {
                return Err(format!("its pickle has more than {MAX_NODES} objects"));
            }
            let step = self.step(opcode);
            step.map_err(|problem| format!("{problem} (byte {at} of its pickle)"))?;
        }
    }

    fn step(&mut self, opcode: u8) -> Result<(), String> {
        match opcode {
            0x80 => drop(self.take(1)?), // PROTO
            0x95 => drop(self.take(8)?), // FRAME
            b'(' => self.marks.push(self.stack.len()),
            b'0' => match self.marks.last() {
                // Where nothing lies above a mark, it is the mark that is taken.
                Some(&mark) if mark == self.stack.len() => drop(self.marks.pop()),
                _ => drop(self.pop()?),
            },
            b'1' => drop(self.above_mark()?),
            b'2' => {
                let top = self.top()?;
                self.stack.push(top);
            }
            b'N' | b')' | b']' | b'}' | 0x8f | 0x88 | 0x89 => self.push(match opcode {
                b')' => Node::Tuple(vec![]),
                b']' => Node::List(vec![]),
                b'}' => Node::Dict(vec![]),
                0x88 => Node::Bool(true),
                0x89 => Node::Bool(false),
                _ => Node::Other,
            }),
            b'I' | b'L' => {
                let line = self.line()?.trim_end_matches('L');
                self.push(match line {
                    "00" => Node::Bool(false),
                    "01" => Node::Bool(true),
                    _ => line.parse().map_or(Node::Other, Node::Int),
                });
            }
            b'K' => self.int(1)?,
            b'M' => self.int(2)?,
            b'J' => {
                let value = self.number(4)? as u32 as i32;
                self.push(Node::Int(value.into()));
            }
            0x8a => self.long(1)?,
            0x8b => self.long(4)?,
            b'F' => {
                self.line()?;
                self.push(Node::Other);
            }
            b'G' => self.skip_value(8)?,
            b'S' | b'V' => {
                let line = self.line()?.trim_matches(['\'', '"']);
                self.push(Node::Text(line));
            }
            b'X' | b'T' => self.string(4)?,
            b'U' | 0x8c => self.string(1)?,
            0x8d => self.string(8)?,
            b'B' => self.bytes(4)?,
            b'C' => self.bytes(1)?,
            0x8e | 0x96 => self.bytes(8)?,
            0x97 => self.push(Node::Other), // A buffer beside the pickle.
            0x98 => {}
            b't' | b'l' | b'd' | 0x91 => {
                let items = self.above_mark()?;
                self.push(match opcode {
                    b't' => Node::Tuple(items),
                    b'l' => Node::List(items),
                    b'd' => Node::Dict(pairs(&items)),
                    _ => Node::Other,
                });
            }
            0x85..=0x87 => {
                let count = usize::from(opcode - 0x84);
                let start = self.height(count)?;
                let items = self.stack.split_off(start);
                self.push(Node::Tuple(items));
            }
            b'a' | b'e' | b's' | b'u' | 0x90 => self.fill(opcode)?,
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.push(Node::Global(module, name));
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (Node::Text(module), Node::Text(name)) =
                    (&self.nodes[module], &self.nodes[name])
                else {
                    return Err("a class has no name".into());
                };
                self.push(Node::Global(module, name));
            }
            b'R' | 0x81 => {
                let (args, callable) = (self.pop()?, self.pop()?);
                self.push(Node::Call { callable, args, items: vec![] });
            }
            0x92 => {
                let (_keywords, args, callable) = (self.pop()?, self.pop()?, self.pop()?);
                self.push(Node::Call { callable, args, items: vec![] });
            }
            b'i' | b'o' => self.instance(opcode)?,
            // An object's attributes; dictionaries of weights have none that matter.
            b'b' => drop(self.pop()?),
            0x82..=0x84 => self.skip_value([1, 2, 4][usize::from(opcode - 0x82)])?,
            b'P' => {
                let line = self.line()?;
                let name = self.node(Node::Text(line));
                self.push(Node::Persistent(name));
            }
            b'Q' => {
                let id = self.pop()?;
                self.push(Node::Persistent(id));
            }
            b'g' | b'h' | b'j' => {
                let key = self.memo_key(opcode == b'g', if opcode == b'h' { 1 } else { 4 })?;
                let id = *self.memo.get(&key).ok_or("it names an object that is not there")?;
                self.stack.push(id);
            }
            b'p' | b'q' | b'r' => {
                let key = self.memo_key(opcode == b'p', if opcode == b'q' { 1 } else { 4 })?;
                let top = self.top()?;
                self.memo.insert(key, top);
            }
            0x94 => {
                let top = self.top()?;
                self.memo.insert(self.memo.len() as u64, top);
            }
            _ => return Err(format!("{opcode:#04x} is no instruction of a pickle")),
        }
        Ok(())
    }

    /// Puts one value or all above the mark into what lies below them.
    fn fill(&mut self, opcode: u8) -> Result<(), String> {
        let values = match opcode {
            b'a' | b's' => {
                let start = self.height(if opcode == b'a' { 1 } else { 2 })?;
                self.stack.split_off(start)
            }
            _ => self.above_mark()?,
        };
        let target = self.top()?;
        match (&mut self.nodes[target], opcode) {
            (Node::List(items), b'a' | b'e') => items.extend(values),
            (Node::Dict(items) | Node::Call { items, .. }, b's' | b'u') => {
                items.extend(pairs(&values));
            }
            // Objects that take items as lists and sets do.
            (Node::Call { .. } | Node::Other, _) => {}
            _ => return Err("a value is put into something that holds none".into()),
        }
        Ok(())
    }

    /// Objects as protocol 0 and 1 write them.
    fn instance(&mut self, opcode: u8) -> Result<(), String> {
        let callable = match opcode {
            b'i' => {
                let (module, name) = (self.line()?, self.line()?);
                Some(self.node(Node::Global(module, name)))
            }
            _ => None,
        };
        let mut args = self.above_mark()?;
        let callable = match callable {
            Some(callable) => callable,
            None if args.is_empty() => return Err("an object has no class".into()),
            None => args.remove(0),
        };
        let args = self.node(Node::Tuple(args));
        self.push(Node::Call { callable, args, items: vec![] });
        Ok(())
    }

    fn node(&mut self, node: Node<'a>) -> Id {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    fn push(&mut self, node: Node<'a>) {
        let id = self.node(node);
        self.stack.push(id);
    }

    /// Height of the stack below its `count` topmost values; they must lie above the last mark.
    fn height(&self, count: usize) -> Result<usize, String> {
        let floor = self.marks.last().copied().unwrap_or(0);
        let height = self.stack.len().checked_sub(count).filter(|&height| height >= floor);
        height.ok_or_else(|| "a value is missing".into())
    }

    fn pop(&mut self) -> Result<Id, String> {
        let height = self.height(1)?;
        let top = self.stack[height];
        self.stack.truncate(height);
        Ok(top)
    }

    fn top(&self) -> Result<Id, String> {
        self.height(1).map(|height| self.stack[height])
    }

    fn above_mark(&mut self) -> Result<Vec<Id>, String> {
        let mark = self.marks.pop().ok_or("a mark is missing")?;
        Ok(self.stack.split_off(mark))
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let rest = &self.bytes[self.at..];
        let taken = rest.get(..count).ok_or("its pickle ends early; is the file complete?")?;
        self.at += count;
        Ok(taken)
    }

    fn line(&mut self) -> Result<&'a str, String> {
        let rest = &self.bytes[self.at..];
        let end = rest.iter().position(|&byte| byte == b'\n').ok_or("its pickle ends early")?;
        self.at += end + 1;
        let line = str::from_utf8(&rest[..end]).map_err(|_| "a line of its pickle is no text")?;
        Ok(line.trim_end_matches('\r'))
    }

    /// A little-endian number of up to eight bytes.
    fn number(&mut self, bytes: usize) -> Result<u64, String> {
        let digits = self.take(bytes)?.iter().rev();
        Ok(digits.fold(0, |value, &digit| value << 8 | u64::from(digit)))
    }

    fn int(&mut self, bytes: usize) -> Result<(), String> {
        let value = self.number(bytes)?;
        self.push(Node::Int(value as i64));
        Ok(())
    }

    /// A signed number behind its length; one that is too long counts nothing here.
    fn long(&mut self, width: usize) -> Result<(), String> {
        let digits = self.counted(width)?;
        let fill = if digits.last().is_some_and(|&last| last >= 0x80) { 0xff } else { 0 };
        let mut value = [fill; 8];
        let node = match value.get_mut(..digits.len()) {
            Some(low) => {
                low.copy_from_slice(digits);
                Node::Int(i64::from_le_bytes(value))
            }
            None => Node::Other,
        };
        self.push(node);
        Ok(())
    }

    /// Bytes behind their number.
    fn counted(&mut self, width: usize) -> Result<&'a [u8], String> {
        let count = self.number(width)?;
        self.take(usize::try_from(count).unwrap_or(usize::MAX))
    }

    fn string(&mut self, width: usize) -> Result<(), String> {
        let text = str::from_utf8(self.counted(width)?);
        self.push(text.map_or(Node::Other, Node::Text));
        Ok(())
    }

    fn bytes(&mut self, width: usize) -> Result<(), String> {
        self.counted(width)?;
        self.push(Node::Other);
        Ok(())
    }

    fn skip_value(&mut self, bytes: usize) -> Result<(), String> {
        self.take(bytes)?;
        self.push(Node::Other);
        Ok(())
    }

    /// A place of the memo, as a line or as `width` bytes.
    fn memo_key(&mut self, line: bool, width: usize) -> Result<u64, String> {
        match line {
            true => self.line()?.parse().map_err(|_| "a place of the memo is no number".into()),
            false => self.number(width),
        }
    }
}

/// Keys with the values that follow them.
fn pairs(items: &[Id]) -> Vec<(Id, Id)> {
    items.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect()
}
