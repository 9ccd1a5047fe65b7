"""Design through the solver: densities with lengths, shapes, images of what scatters; one search for all of them."""

from elec.design.device import Device
from elec.design.filters import filter_density
from elec.design.imaging import Image, Imaging, invert, total_variation
from elec.design.lengths import Lengths, erosion_threshold, length_constraints, minimum_lengths
from elec.design.media import Mixture, cell_media, design_media, mixture, pattern_part
from elec.design.minimize import DesignTask, Found, minimize
from elec.design.projection import gray_level, project, project_smoothly
from elec.design.quality import global_similarity, peak_signal_to_noise, structural_similarity
from elec.design.region import Region

__all__ = [
    "DesignTask",
    "Device",
    "Found",
    "Image",
    "Imaging",
    "Lengths",
    "Mixture",
    "Region",
    "cell_media",
    "design_media",
    "erosion_threshold",
    "filter_density",
    "global_similarity",
    "gray_level",
    "invert",
    "length_constraints",
    "minimize",
    "minimum_lengths",
    "mixture",
    "pattern_part",
    "peak_signal_to_noise",
    "project",
    "project_smoothly",
    "structural_similarity",
    "total_variation",
]
