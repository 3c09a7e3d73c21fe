//! A reader for BTF, the kernel's description of its types: offsets of structure members, and values of
//! enumerations. It accepts any bytes without panicking.
//!
//! The format is documented in Documentation/bpf/btf.rst. aya's reader does not expose members.

use thiserror::Error;

/// The magic number in the first two bytes.
const MAGIC: u16 = 0xeb9f;

/// The length of the header that all versions have.
const HEADER_LEN: usize = 24;

/// The maximum nesting of structures, and the most members that one search visits. Both are far above any
/// kernel's, and end the search in cyclic types.
const DEPTH_MAX: u32 = 16;
const MEMBERS_MAX: u32 = 1 << 16;

/// The type kinds in use, `BTF_KIND_*` of include/uapi/linux/btf.h.
mod kind {
    pub const INT: u32 = 1;
    pub const PTR: u32 = 2;
    pub const ARRAY: u32 = 3;
    pub const STRUCT: u32 = 4;
    pub const UNION: u32 = 5;
    pub const ENUM: u32 = 6;
    pub const TYPEDEF: u32 = 8;
    pub const VOLATILE: u32 = 9;
    pub const CONST: u32 = 10;
    pub const RESTRICT: u32 = 11;
    pub const FLOAT: u32 = 16;
    pub const TYPE_TAG: u32 = 18;
    pub const ENUM64: u32 = 19;
}

/// How many bytes follow the fixed part of a type, by kind from kind 1 on: in total, and per member.
#[rustfmt::skip]
const VARIABLE_PART: [(usize, usize); 19] = [
    // INT, PTR, ARRAY, STRUCT, UNION, ENUM, FWD, TYPEDEF, VOLATILE, CONST
    (4, 0), (0, 0), (12, 0), (0, 12), (0, 12), (0, 8), (0, 0), (0, 0), (0, 0), (0, 0),
    // RESTRICT, FUNC, FUNC_PROTO, VAR, DATASEC, FLOAT, DECL_TAG, TYPE_TAG, ENUM64
    (0, 0), (0, 0), (0, 8), (4, 0), (0, 12), (0, 0), (4, 0), (0, 0), (0, 12),
];

/// Why bytes are not valid BTF.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BtfError {
    /// They are shorter than a header.
    #[error("{len} bytes are too short for a BTF header")]
    NoHeader {
        /// How many bytes there are.
        len: usize,
    },
    /// The magic number is wrong.
    #[error("the magic number is {magic:#06x}, expected {MAGIC:#06x}")]
    Magic {
        /// The number found.
        magic: u16,
    },
    /// The header refers to bytes beyond the end.
    #[error("the {section} section is outside of the {len} bytes")]
    Section {
        /// `types` or `strings`.
        section: &'static str,
        /// How many bytes there are.
        len: usize,
    },
    /// The kind of a type, and therefore its length, is unknown to this reader.
    #[error("type {id} has the unknown kind {kind}")]
    Kind {
        /// The type's number.
        id: u32,
        /// Its kind.
        kind: u32,
    },
    /// A type extends beyond the end of its section.
    #[error("type {id} is truncated")]
    Truncated {
        /// The type's number.
        id: u32,
    },
}

/// A member of a structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StructMember {
    /// Its offset in the structure, in bytes.
    pub offset: u64,
    /// Its size in bytes.
    pub size: u64,
}

/// A member, which may be a bit field.
#[derive(Clone, Copy)]
struct FoundMember {
    /// Its offset in the structure, in bits.
    bit: u64,
    /// The width of a bit field; 0 for another member.
    width: u32,
    /// The size of its type in bytes.
    size: u64,
}

/// Validated BTF.
pub struct Btf<'a> {
    types: &'a [u8],
    strings: &'a [u8],
    /// The offset in `types` of each type, by its number less 1: type 0 (void) has none.
    type_offsets: Vec<u32>,
}

/// The fixed part of a type.
#[derive(Clone, Copy)]
struct BtfType {
    name: u32,
    kind: u32,
    count: u32,
    flag: bool,
    /// A size or another type's number.
    size_or_type: u32,
    /// The offset of its variable part in `types`.
    rest: usize,
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

impl<'a> Btf<'a> {
    /// Parses and validates the bytes of a file such as `/sys/kernel/btf/vmlinux`.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, BtfError> {
        let len = bytes.len();
        let header = |at| word(bytes, at).map(|word| word as usize).ok_or(BtfError::NoHeader { len });
        if len < HEADER_LEN {
            return Err(BtfError::NoHeader { len });
        }
        let magic = u16::from_ne_bytes([bytes[0], bytes[1]]);
        if magic != MAGIC {
            return Err(BtfError::Magic { magic });
        }
        let header_len = header(4)?;
        let section = |section, offset: usize, length: usize| {
            let from = header_len.checked_add(offset);
            let to = from.and_then(|from| from.checked_add(length));
            from.zip(to).and_then(|(from, to)| bytes.get(from..to)).ok_or(BtfError::Section { section, len })
        };
        let types = section("types", header(8)?, header(12)?)?;
        let strings = section("strings", header(16)?, header(20)?)?;
        let mut btf = Self { types, strings, type_offsets: Vec::new() };
        btf.find_type_offsets()?;
        Ok(btf)
    }

    fn find_type_offsets(&mut self) -> Result<(), BtfError> {
        let mut at = 0;
        while at < self.types.len() {
            let id = u32::try_from(self.type_offsets.len() + 1).unwrap_or(u32::MAX);
            let truncated = BtfError::Truncated { id };
            let found = self.type_at(at).ok_or(truncated)?;
            let of_kind = VARIABLE_PART.get((found.kind as usize).wrapping_sub(1));
            let (fixed, each) = of_kind.ok_or(BtfError::Kind { id, kind: found.kind })?;
            let end = found.rest + fixed + each * found.count as usize;
            if end > self.types.len() {
                return Err(truncated);
            }
            self.type_offsets.push(u32::try_from(at).map_err(|_| truncated)?);
            at = end;
        }
        Ok(())
    }

    fn type_at(&self, at: usize) -> Option<BtfType> {
        let info = word(self.types, at + 4)?;
        Some(BtfType {
            name: word(self.types, at)?,
            kind: (info >> 24) & 0x1f,
            count: info & 0xffff,
            flag: info >> 31 != 0,
            size_or_type: word(self.types, at + 8)?,
            rest: at + 12,
        })
    }

    fn type_of(&self, id: u32) -> Option<BtfType> {
        let place = self.type_offsets.get((id as usize).checked_sub(1)?)?;
        self.type_at(*place as usize)
    }

    /// Whether the string at offset `name` is `expected`.
    fn is_named(&self, name: u32, expected: &str) -> bool {
        self.strings
            .get(name as usize..)
            .and_then(|rest| rest.strip_prefix(expected.as_bytes()))
            .is_some_and(|rest| rest.first() == Some(&0))
    }

    fn string(&self, name: u32) -> Option<&'a str> {
        let rest = self.strings.get(name as usize..)?;
        let end = rest.iter().position(|&byte| byte == 0)?;
        std::str::from_utf8(&rest[..end]).ok()
    }

    fn types(&self) -> impl Iterator<Item = BtfType> + '_ {
        self.type_offsets.iter().filter_map(|&place| self.type_at(place as usize))
    }

    /// Finds a member of a structure. `path` may name a member of a nested structure (`self.parent`), but not
    /// through pointers; members of anonymous structures and unions count as members of the enclosing one.
    #[must_use]
    pub fn member(&self, structure: &str, path: &str) -> Option<StructMember> {
        let FoundMember { bit, width, size } = self.find_member(structure, path)?;
        (width == 0 && bit % 8 == 0).then_some(StructMember { offset: bit / 8, size })
    }

    /// Finds a flag, as [`member`](Self::member): a `bool`, or a bit field of one bit. Returns the offset of
    /// its byte in the structure, and its bits in that byte.
    #[must_use]
    pub fn flag(&self, structure: &str, path: &str) -> Option<(u64, u64)> {
        let FoundMember { bit, width, size } = self.find_member(structure, path)?;
        match (width, size) {
            // Bit fields begin at the lowest bit on x86-64 and arm64.
            (1, _) => Some((bit / 8, 1 << (bit % 8))),
            (0, 1) => Some((bit / 8, 0xff)),
            _ => None,
        }
    }

    fn find_member(&self, structure: &str, path: &str) -> Option<FoundMember> {
        // The kernel may have several structures of one name, in different files.
        self.types()
            .filter(|candidate| candidate.kind == kind::STRUCT && self.is_named(candidate.name, structure))
            .find_map(|candidate| {
                let mut fuel = MEMBERS_MAX;
                self.member_of(candidate, path, DEPTH_MAX, &mut fuel)
            })
    }

    fn member_of(&self, structure: BtfType, path: &str, depth: u32, fuel: &mut u32) -> Option<FoundMember> {
        let depth = depth.checked_sub(1)?;
        let (first, rest) = path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
        for index in 0..structure.count as usize {
            *fuel = fuel.checked_sub(1)?;
            let at = structure.rest + 12 * index;
            let name = word(self.types, at)?;
            let bits = word(self.types, at + 8)?;
            // With the flag, the upper byte is the width of a bit field.
            let (bits, width) = if structure.flag { (bits & 0xff_ffff, bits >> 24) } else { (bits, 0) };
            let resolved = || self.resolved(word(self.types, at + 4)?);
            let inner = if self.is_named(name, "") {
                let Some(inner) = resolved().filter(BtfType::has_members) else { continue };
                self.member_of(inner, path, depth, fuel)
            } else if self.is_named(name, first) {
                match rest {
                    Some(rest) => self.member_of(resolved().filter(BtfType::has_members)?, rest, depth, fuel),
                    None => Some(FoundMember { bit: 0, width, size: self.size_of(resolved()?, depth)? }),
                }
            } else {
                None
            };
            if let Some(inner) = inner {
                return Some(FoundMember { bit: u64::from(bits) + inner.bit, ..inner });
            }
        }
        None
    }

    /// The type with that number, without typedefs and qualifiers.
    fn resolved(&self, mut id: u32) -> Option<BtfType> {
        for _ in 0..DEPTH_MAX {
            let found = self.type_of(id)?;
            match found.kind {
                kind::TYPEDEF | kind::VOLATILE | kind::CONST | kind::RESTRICT | kind::TYPE_TAG => {
                    id = found.size_or_type;
                }
                _ => return Some(found),
            }
        }
        None
    }

    fn size_of(&self, of: BtfType, depth: u32) -> Option<u64> {
        let depth = depth.checked_sub(1)?;
        match of.kind {
            kind::PTR => Some(size_of::<usize>() as u64),
            kind::ARRAY => {
                let element = self.resolved(word(self.types, of.rest)?)?;
                self.size_of(element, depth)?.checked_mul(u64::from(word(self.types, of.rest + 8)?))
            }
            kind::INT | kind::STRUCT | kind::UNION | kind::ENUM | kind::ENUM64 | kind::FLOAT => {
                Some(u64::from(of.size_or_type))
            }
            _ => None,
        }
    }

    /// The names and values of an enumeration, in order. Empty if there is no such enumeration.
    #[must_use]
    pub fn enumeration(&self, name: &str) -> Vec<(&'a str, u64)> {
        self.types()
            .find(|candidate| {
                matches!(candidate.kind, kind::ENUM | kind::ENUM64) && self.is_named(candidate.name, name)
            })
            .map(|found| {
                (0..found.count as usize).filter_map(|index| self.enumerator(found, index)).collect()
            })
            .unwrap_or_default()
    }

    fn enumerator(&self, of: BtfType, index: usize) -> Option<(&'a str, u64)> {
        let wide = of.kind == kind::ENUM64;
        let at = of.rest + index * if wide { 12 } else { 8 };
        let low = u64::from(word(self.types, at + 4)?);
        let high = if wide { u64::from(word(self.types, at + 8)?) } else { 0 };
        Some((self.string(word(self.types, at)?)?, high << 32 | low))
    }
}

impl BtfType {
    fn has_members(&self) -> bool {
        matches!(self.kind, kind::STRUCT | kind::UNION)
    }
}
