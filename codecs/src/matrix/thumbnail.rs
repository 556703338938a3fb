//! Thumbnails: which there are, and how one is made.
//!
//! A picture is looked into only when it is small in bytes, and decoded only when it is small in pixels: a file of a few
//! kilobytes can say that it is as large as a city.

use super::error::Error;
use crate::http::request::Head;
use lavina_core::text::Str;

/// Bytes of a picture of which a thumbnail is made; of a larger one there is none.
#[cfg(feature = "thumbnails")]
pub const SOURCE: u64 = 20 << 20;

/// Bytes of a picture that stands for its own thumbnail, where none can be made.
pub const ORIGINAL: u64 = 2 << 20;

/// Pixels of a picture that is decoded; a larger one is none.
#[cfg(feature = "thumbnails")]
const PIXELS: u64 = 32_000_000;

/// Bytes that decoding may take: eight for each pixel, if it has sixteen bits a colour.
#[cfg(feature = "thumbnails")]
const MEMORY: u64 = 8 * PIXELS + (16 << 20);

/// A size of thumbnail: those that the specification recommends (client-server API, "Thumbnails"), and a larger square
/// for profiles. Others that are asked for get the next larger one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spec {
    width: u32,
    height: u32,
    /// True: cut to this shape; false: the whole picture, within it.
    crop: bool,
}

const SPECS: [Spec; 6] = [
    Spec { width: 32, height: 32, crop: true },
    Spec { width: 96, height: 96, crop: true },
    Spec { width: 320, height: 240, crop: false },
    Spec { width: 640, height: 480, crop: false },
    Spec { width: 800, height: 600, crop: false },
    Spec { width: 256, height: 256, crop: true },
];

impl Spec {
    /// The thumbnail for a request: at least as large as asked for, if there is one.
    ///
    /// # Errors
    /// 400 where a size is missing or no number above zero, or the method is none.
    pub fn read(head: &Head) -> Result<Spec, Error> {
        let size = |name: &str| {
            let said = head
                .target
                .parameter(name)
                .ok_or_else(|| Error::missing_param(format!("{name} is missing")))?;
            let wrong = || Error::invalid_param(format!("{name} must be a number above zero"));
            said.parse::<u32>().ok().filter(|n| *n > 0).ok_or_else(wrong)
        };
        let (width, height) = (size("width")?, size("height")?);
        let crop = match head.target.parameter("method").as_deref() {
            None | Some("scale") => false,
            Some("crop") => true,
            Some(_) => return Err(Error::invalid_param("method must be crop or scale")),
        };
        Ok(Spec::for_size(width, height, crop))
    }

    fn for_size(width: u32, height: u32, crop: bool) -> Spec {
        let fits = |spec: &&Spec| spec.width >= width && spec.height >= height;
        let mut squares: Vec<&Spec> = SPECS.iter().filter(|s| s.crop).collect();
        squares.sort_by_key(|s| s.width);
        let square = squares.into_iter().find(|s| crop && fits(s));
        let whole = SPECS.iter().filter(|s| !s.crop);
        // Larger than the largest gets that one.
        *square
            .or_else(|| whole.clone().find(fits))
            .or_else(|| whole.clone().next_back())
            .unwrap_or(&SPECS[0])
    }

    /// Its number among all that are made from a picture; not zero, and never another one's.
    #[must_use]
    pub fn number(self) -> u8 {
        SPECS.iter().zip(1..).find(|(spec, _)| **spec == self).map_or(1, |(_, n)| n)
    }
}

/// Whether a thumbnail can be made of something that is said to be of this type.
#[cfg(feature = "thumbnails")]
#[must_use]
pub fn can_be_made(content_type: &str, size: u64) -> bool {
    kind(content_type).is_some() && size <= SOURCE
}

/// The media type of a thumbnail of something of that type.
#[must_use]
pub fn type_for(content_type: &str) -> &'static str {
    if kind(content_type) == Some("image/jpeg") { "image/jpeg" } else { "image/png" }
}

/// The type without parameters, if it is one of which thumbnails are made.
fn kind(content_type: &str) -> Option<&'static str> {
    let said = content_type.split(';').next().unwrap_or_default().trim();
    ["image/png", "image/jpeg", "image/gif", "image/webp"].into_iter().find(|t| t.eq_ignore_ascii_case(said))
}

/// What the thumbnail of a file of that name is called.
#[must_use]
pub fn name(of: &str) -> Str {
    if of.is_empty() { Str::default() } else { Str::new(format!("thumbnail-{of}")) }
}

/// A picture as it came.
pub struct Picture(pub Vec<u8>);

impl std::fmt::Debug for Picture {
    /// Contents never reach a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Picture({})", self.0.len())
    }
}

/// Makes the thumbnail, of the media type [`type_for`] the one that the picture is said to have; none: it is no picture
/// of a known kind, larger than is looked into, or no larger than its thumbnail would be. Tens of milliseconds and more.
#[cfg(feature = "thumbnails")]
#[must_use]
pub fn make(picture: &Picture, said: &str, spec: Spec) -> Option<Picture> {
    use image::imageops::FilterType::Triangle;
    use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};
    use std::io::Cursor;
    let mut reader = ImageReader::new(Cursor::new(&picture.0)).with_guessed_format().ok()?;
    if !matches!(
        reader.format()?,
        ImageFormat::Png | ImageFormat::Jpeg | ImageFormat::Gif | ImageFormat::WebP
    ) {
        return None;
    }
    let mut limits = Limits::default();
    limits.max_alloc = Some(MEMORY);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().ok()?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > PIXELS || (width <= spec.width && height <= spec.height) {
        return None;
    }
    let orientation = decoder.orientation().ok()?;
    let mut image = DynamicImage::from_decoder(decoder).ok()?;
    image.apply_orientation(orientation);
    let small = if spec.crop {
        image.resize_to_fill(spec.width, spec.height, Triangle)
    } else {
        image.resize(spec.width, spec.height, Triangle)
    };
    let (small, format) = match type_for(said) {
        "image/jpeg" => (DynamicImage::from(small.to_rgb8()), ImageFormat::Jpeg),
        _ => (DynamicImage::from(small.to_rgba8()), ImageFormat::Png),
    };
    let mut out = Cursor::new(Vec::new());
    small.write_to(&mut out, format).ok()?;
    Some(Picture(out.into_inner()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_larger_size_is_given() {
        for (width, height, crop, number) in [
            (32, 32, true, 1),
            (1, 33, true, 2),
            (96, 96, true, 2),
            (97, 1, true, 6),
            (257, 1, true, 3),
            (32, 32, false, 3),
            (321, 1, false, 4),
            (1, 481, false, 5),
            (5_000, 5_000, false, 5),
            (5_000, 5_000, true, 5),
        ] {
            assert_eq!(Spec::for_size(width, height, crop).number(), number, "{width}x{height} {crop}");
        }
    }

    #[test]
    fn sizes_are_numbers_above_zero() {
        let read = |query: &str| {
            let head = format!("GET /x?{query} HTTP/1.1\r\nHost: x\r\n\r\n");
            Spec::read(&Head::parse(head.as_bytes()).expect("a head")).map(Spec::number).map_err(|e| e.code)
        };
        assert_eq!(read("width=96&height=96&method=crop"), Ok(2));
        assert_eq!(read("width=96&height=96"), Ok(3));
        assert_eq!(read("width=96"), Err("M_MISSING_PARAM"));
        for bad in ["width=0&height=1", "width=-1&height=1", "width=a&height=1", "width=1&height=1&method=x"]
        {
            assert_eq!(read(bad), Err("M_INVALID_PARAM"), "{bad}");
        }
    }

    #[cfg(feature = "thumbnails")]
    mod made {
        use super::*;
        use image::{DynamicImage, ImageFormat, RgbImage};
        use std::io::Cursor;

        fn picture(width: u32, height: u32, format: ImageFormat) -> Picture {
            let image = RgbImage::from_fn(width, height, |x, y| image::Rgb([x as u8, y as u8, 99]));
            let mut out = Cursor::new(Vec::new());
            DynamicImage::from(image).write_to(&mut out, format).expect("encoded");
            Picture(out.into_inner())
        }

        fn size(picture: &Picture) -> (u32, u32) {
            let image = image::load_from_memory(&picture.0).expect("a picture");
            (image.width(), image.height())
        }

        #[test]
        fn every_kind_is_cropped_and_scaled() {
            let crop = Spec::for_size(96, 96, true);
            let scale = Spec::for_size(320, 240, false);
            for (format, said) in [
                (ImageFormat::Png, "image/png"),
                (ImageFormat::Jpeg, "image/jpeg"),
                (ImageFormat::Gif, "image/gif"),
                (ImageFormat::WebP, "image/webp"),
            ] {
                let of = picture(800, 200, format);
                let small = make(&of, said, crop).expect("made");
                assert_eq!(size(&small), (96, 96), "{said}");
                let small = make(&of, said, scale).expect("made");
                assert_eq!(size(&small), (320, 80), "{said}");
                let magic: &[u8] = if said == "image/jpeg" { b"\xff\xd8" } else { b"\x89PNG" };
                assert!(small.0.starts_with(magic), "{said} is {}", type_for(said));
            }
        }

        #[test]
        fn what_is_small_or_no_picture_stays_as_it_is() {
            let scale = Spec::for_size(320, 240, false);
            assert!(make(&picture(320, 240, ImageFormat::Png), "image/png", scale).is_none());
            assert!(make(&Picture(b"hello".to_vec()), "image/png", scale).is_none());
            assert!(make(&Picture(Vec::new()), "image/png", scale).is_none());
            let mut cut = picture(800, 600, ImageFormat::Png);
            cut.0.truncate(200);
            assert!(make(&cut, "image/png", scale).is_none());
        }

        #[test]
        fn a_picture_that_says_it_is_huge_is_not_decoded() {
            // The head of a PNG of 20,000 times 20,000 pixels, with its true checksum.
            let mut bytes = picture(1, 1, ImageFormat::Png).0;
            bytes[16..24].copy_from_slice(&[0, 0, 0x4e, 0x20, 0, 0, 0x4e, 0x20]);
            let crc = bytes[12..29].iter().fold(!0u32, |crc, byte| {
                (0..8).fold(
                    crc ^ u32::from(*byte),
                    |c, _| if c & 1 == 1 { c >> 1 ^ 0xedb8_8320 } else { c >> 1 },
                )
            });
            bytes[29..33].copy_from_slice(&(!crc).to_be_bytes());
            assert!(make(&Picture(bytes), "image/png", Spec::for_size(32, 32, true)).is_none());
        }
    }
}
