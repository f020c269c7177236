#!/bin/sh
# GNOME's thumbnails, made by the programs that are installed for that: the pixels of a picture, and of one that is broken.
/usr/bin/python3 -c 'import gi; gi.require_version("GnomeDesktop", "3.0")' 2> /dev/null || { echo "there is no GnomeDesktop 3.0"; exit 77; }
[ -e /usr/share/thumbnailers/gdk-pixbuf-thumbnailer.thumbnailer ] || { echo "there is no gdk-pixbuf-thumbnailer"; exit 77; }
exec /usr/bin/python3 - 2>&1 << 'END'
import gi, hashlib, os, struct, zlib
gi.require_version("GnomeDesktop", "3.0")
from gi.repository import GLib, GnomeDesktop

def chunk(name, data): return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

pixels = b"".join(b"\0" + bytes((x, y, 200)[i] for x in range(64) for i in range(3)) for y in range(64))
picture = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 64, 64, 8, 2, 0, 0, 0)) \
    + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")
factory = GnomeDesktop.DesktopThumbnailFactory.new(GnomeDesktop.DesktopThumbnailSize.LARGE)
for name, data in ("good.png", picture), ("broken.png", picture[:20]):
    path = os.path.join(os.environ["HOME"], name)
    with open(path, "wb") as file: file.write(data)
    try:
        made = factory.generate_thumbnail(GLib.filename_to_uri(path), "image/png")
        print(name, made.get_width(), made.get_height(), hashlib.sha256(made.get_pixels()).hexdigest())
    except GLib.Error as error: print(name, error.message)
END
