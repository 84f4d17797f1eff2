"""Where images come from: folders, a ``datasets`` data set, or the built-in faces.

Each source lists records without reading an image, and reads them later, one after the other.
"""

from srae_dist.data.sources.drawn import from_faces
from srae_dist.data.sources.files import from_domains, from_root, labels_of, read_file
from srae_dist.data.sources.tables import from_dataset

__all__ = ["from_dataset", "from_domains", "from_faces", "from_root", "labels_of", "read_file"]
