//! Vectors of three `f32`, used for points, directions and colours alike.

use std::ops::{Add, AddAssign, Div, Mul, MulAssign, Neg, Sub};

/// A point, a direction or a linear RGB colour.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Vec3 {
    /// To the right; red.
    pub x: f32,
    /// Upwards; green.
    pub y: f32,
    /// Towards the viewer; blue.
    pub z: f32,
}

/// The smaller number. Unlike `f32::min` it promises nothing about what is not a number, and is one instruction.
#[inline]
fn least(a: f32, b: f32) -> f32 {
    if a < b { a } else { b }
}

/// The larger number, as [`least`].
#[inline]
fn most(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

/// A vector from its three parts.
#[must_use]
pub const fn vec3(x: f32, y: f32, z: f32) -> Vec3 {
    Vec3 { x, y, z }
}

impl Vec3 {
    /// The origin; black.
    pub const ZERO: Self = vec3(0.0, 0.0, 0.0);
    /// White.
    pub const ONE: Self = vec3(1.0, 1.0, 1.0);

    /// Scalar product.
    #[must_use]
    #[inline]
    pub fn dot(self, other: Self) -> f32 {
        self.x * other.x + self.y * other.y + self.z * other.z
    }

    /// Vector product.
    #[must_use]
    #[inline]
    pub fn cross(self, other: Self) -> Self {
        vec3(
            self.y * other.z - self.z * other.y,
            self.z * other.x - self.x * other.z,
            self.x * other.y - self.y * other.x,
        )
    }

    /// Length.
    #[must_use]
    #[inline]
    pub fn length(self) -> f32 {
        self.dot(self).sqrt()
    }

    /// The direction of this vector with length 1; the zero vector stays as it is.
    #[must_use]
    #[inline]
    pub fn normalized(self) -> Self {
        let length = self.length();
        if length > 0.0 { self / length } else { self }
    }

    /// The smaller of each part.
    #[must_use]
    #[inline]
    pub fn min(self, other: Self) -> Self {
        vec3(
            least(self.x, other.x),
            least(self.y, other.y),
            least(self.z, other.z),
        )
    }

    /// The larger of each part.
    #[must_use]
    #[inline]
    pub fn max(self, other: Self) -> Self {
        vec3(
            most(self.x, other.x),
            most(self.y, other.y),
            most(self.z, other.z),
        )
    }

    /// The smallest part.
    #[must_use]
    #[inline]
    pub fn min_part(self) -> f32 {
        least(least(self.x, self.y), self.z)
    }

    /// The largest part.
    #[must_use]
    #[inline]
    pub fn max_part(self) -> f32 {
        most(most(self.x, self.y), self.z)
    }

    /// Brightness of a linear colour with the weights of the sRGB primaries.
    #[must_use]
    #[inline]
    pub fn luminance(self) -> f32 {
        self.dot(vec3(0.2126, 0.7152, 0.0722))
    }

    /// A mixture: this one at 0, the other at 1.
    #[must_use]
    #[inline]
    pub fn mix(self, other: Self, amount: f32) -> Self {
        self * (1.0 - amount) + other * amount
    }

    /// Turned around the vertical axis by an angle given as its sine and cosine.
    #[must_use]
    #[inline]
    pub fn turned(self, (sine, cosine): (f32, f32)) -> Self {
        vec3(
            cosine * self.x + sine * self.z,
            self.y,
            cosine * self.z - sine * self.x,
        )
    }

    /// Whether every part is a number and not infinite.
    #[must_use]
    pub fn is_finite(self) -> bool {
        self.x.is_finite() && self.y.is_finite() && self.z.is_finite()
    }

    /// The parts in order.
    #[must_use]
    #[inline]
    pub const fn to_array(self) -> [f32; 3] {
        [self.x, self.y, self.z]
    }
}

impl From<[f32; 3]> for Vec3 {
    #[inline]
    fn from([x, y, z]: [f32; 3]) -> Self {
        vec3(x, y, z)
    }
}

impl Add for Vec3 {
    type Output = Self;
    #[inline]
    fn add(self, other: Self) -> Self {
        vec3(self.x + other.x, self.y + other.y, self.z + other.z)
    }
}

impl Sub for Vec3 {
    type Output = Self;
    #[inline]
    fn sub(self, other: Self) -> Self {
        vec3(self.x - other.x, self.y - other.y, self.z - other.z)
    }
}

impl Mul for Vec3 {
    type Output = Self;
    #[inline]
    fn mul(self, other: Self) -> Self {
        vec3(self.x * other.x, self.y * other.y, self.z * other.z)
    }
}

impl Mul<f32> for Vec3 {
    type Output = Self;
    #[inline]
    fn mul(self, factor: f32) -> Self {
        vec3(self.x * factor, self.y * factor, self.z * factor)
    }
}

impl Div<f32> for Vec3 {
    type Output = Self;
    #[inline]
    fn div(self, divisor: f32) -> Self {
        self * (1.0 / divisor)
    }
}

impl Neg for Vec3 {
    type Output = Self;
    #[inline]
    fn neg(self) -> Self {
        vec3(-self.x, -self.y, -self.z)
    }
}

impl AddAssign for Vec3 {
    #[inline]
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl MulAssign for Vec3 {
    #[inline]
    fn mul_assign(&mut self, other: Self) {
        *self = *self * other;
    }
}

impl MulAssign<f32> for Vec3 {
    #[inline]
    fn mul_assign(&mut self, factor: f32) {
        *self = *self * factor;
    }
}

/// Four numbers that are computed with at once.
#[derive(Clone, Copy, Debug)]
#[repr(align(16))]
pub(crate) struct F4(pub(crate) [f32; 4]);

impl F4 {
    /// The same number four times.
    #[inline(always)]
    pub(crate) fn all(value: f32) -> Self {
        Self([value; 4])
    }

    /// The smaller of each.
    #[inline(always)]
    pub(crate) fn least(self, other: Self) -> Self {
        Self(std::array::from_fn(|lane| {
            least(self.0[lane], other.0[lane])
        }))
    }

    /// The larger of each.
    #[inline(always)]
    pub(crate) fn most(self, other: Self) -> Self {
        Self(std::array::from_fn(|lane| {
            most(self.0[lane], other.0[lane])
        }))
    }
}

impl Add for F4 {
    type Output = Self;
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self(std::array::from_fn(|lane| self.0[lane] + other.0[lane]))
    }
}

impl Sub for F4 {
    type Output = Self;
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Self(std::array::from_fn(|lane| self.0[lane] - other.0[lane]))
    }
}

impl Mul for F4 {
    type Output = Self;
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        Self(std::array::from_fn(|lane| self.0[lane] * other.0[lane]))
    }
}

impl Div for F4 {
    type Output = Self;
    #[inline(always)]
    fn div(self, other: Self) -> Self {
        Self(std::array::from_fn(|lane| self.0[lane] / other.0[lane]))
    }
}

/// Four vectors, part by part.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fours {
    pub(crate) x: F4,
    pub(crate) y: F4,
    pub(crate) z: F4,
}

impl Fours {
    /// Vectors that are not numbers.
    pub(crate) const NONE: Self = Self {
        x: F4([f32::NAN; 4]),
        y: F4([f32::NAN; 4]),
        z: F4([f32::NAN; 4]),
    };

    /// The same vector four times.
    #[inline(always)]
    pub(crate) fn all(value: Vec3) -> Self {
        Self {
            x: F4::all(value.x),
            y: F4::all(value.y),
            z: F4::all(value.z),
        }
    }

    /// Replaces one of the vectors.
    pub(crate) fn set(&mut self, lane: usize, value: Vec3) {
        (self.x.0[lane], self.y.0[lane], self.z.0[lane]) = (value.x, value.y, value.z);
    }

    /// Scalar products.
    #[inline(always)]
    pub(crate) fn dot(self, other: Self) -> F4 {
        self.x * other.x + self.y * other.y + self.z * other.z
    }

    /// Vector products.
    #[inline(always)]
    pub(crate) fn cross(self, other: Self) -> Self {
        Self {
            x: self.y * other.z - self.z * other.y,
            y: self.z * other.x - self.x * other.z,
            z: self.x * other.y - self.y * other.x,
        }
    }
}

impl Sub for Fours {
    type Output = Self;
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Self {
            x: self.x - other.x,
            y: self.y - other.y,
            z: self.z - other.z,
        }
    }
}

impl Mul for Fours {
    type Output = Self;
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        Self {
            x: self.x * other.x,
            y: self.y * other.y,
            z: self.z * other.z,
        }
    }
}

/// Three directions at right angles, the third of them given. In its coordinates that one is `z`.
#[derive(Clone, Copy, Debug)]
pub struct Basis {
    x: Vec3,
    y: Vec3,
    z: Vec3,
}

impl Basis {
    /// A basis around a direction of length 1, after Duff and others, "Building an Orthonormal Basis, Revisited".
    #[must_use]
    #[inline]
    pub fn around(z: Vec3) -> Self {
        let sign = 1.0f32.copysign(z.z);
        let a = -1.0 / (sign + z.z);
        let b = z.x * z.y * a;
        let x = vec3(1.0 + sign * z.x * z.x * a, sign * b, -sign * z.x);
        let y = vec3(b, sign + z.y * z.y * a, -z.y);
        Self { x, y, z }
    }

    /// From the coordinates of this basis to the world's.
    #[must_use]
    #[inline]
    pub fn to_world(&self, local: Vec3) -> Vec3 {
        self.x * local.x + self.y * local.y + self.z * local.z
    }

    /// From the world's coordinates to those of this basis.
    #[must_use]
    #[inline]
    pub fn to_local(&self, world: Vec3) -> Vec3 {
        vec3(world.dot(self.x), world.dot(self.y), world.dot(self.z))
    }
}
