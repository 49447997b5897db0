"""Which elements of a DICOM header may leave: everything that is not named here stays behind.

Chosen after PS3.15 annex E (basic profile): what describes pixels, geometry and technique, in types that hold numbers
and code words. No free text, not even the maker of the machine; no overlays, no icons, nothing private.
"""

from __future__ import annotations

from collections.abc import Mapping

KEPT = frozenset(
    """
    SpecificCharacterSet ImageType SOPClassUID Modality
    PatientSex PatientAge PatientSize PatientWeight PatientPosition BodyPartExamined Laterality
    ImageLaterality PresentationIntentType BurnedInAnnotation RecognizableVisualFeatures ConversionType
    SeriesNumber AcquisitionNumber InstanceNumber NumberOfFrames TemporalPositionIdentifier NumberOfTemporalPositions
    ImagesInAcquisition InStackPositionNumber ImageOrientationPatient ImagePositionPatient SliceLocation
    SliceThickness SpacingBetweenSlices PixelSpacing ImagerPixelSpacing NominalScannedPixelSpacing PixelAspectRatio
    GantryDetectorTilt TableHeight RotationDirection Rows Columns SamplesPerPixel PhotometricInterpretation
    PlanarConfiguration BitsAllocated BitsStored HighBit PixelRepresentation PixelPaddingValue
    PixelPaddingRangeLimit SmallestImagePixelValue LargestImagePixelValue RescaleIntercept RescaleSlope RescaleType
    WindowCenter WindowWidth VOILUTFunction LossyImageCompression LossyImageCompressionRatio
    LossyImageCompressionMethod RedPaletteColorLookupTableDescriptor GreenPaletteColorLookupTableDescriptor
    BluePaletteColorLookupTableDescriptor PixelData FloatPixelData DoubleFloatPixelData ExtendedOffsetTable
    ExtendedOffsetTableLengths KVP ExposureTime XRayTubeCurrent Exposure GeneratorPower FocalSpots
    DataCollectionDiameter ReconstructionDiameter DistanceSourceToDetector DistanceSourceToPatient SpiralPitchFactor
    SingleCollimationWidth TotalCollimationWidth TableSpeed TableFeedPerRotation CTDIvol ScanningSequence
    SequenceVariant ScanOptions MRAcquisitionType AngioFlag RepetitionTime EchoTime InversionTime NumberOfAverages
    ImagingFrequency EchoNumbers MagneticFieldStrength NumberOfPhaseEncodingSteps EchoTrainLength
    PercentSampling PercentPhaseFieldOfView PixelBandwidth FlipAngle AcquisitionMatrix InPlanePhaseEncodingDirection
    VariableFlipAngleFlag SAR dBdt FrameType PixelPresentation VolumetricProperties VolumeBasedCalculationTechnique
    ComplexImageComponent AcquisitionContrast FrameAcquisitionNumber DimensionIndexValues DimensionIndexPointer
    FunctionalGroupPointer DimensionOrganizationType RealWorldValueIntercept RealWorldValueSlope
    RealWorldValueFirstValueMapped RealWorldValueLastValueMapped ReferencedFrameNumber ReferencedSOPClassUID
    SegmentationType SegmentationFractionalType MaximumFractionalValue SegmentNumber SegmentAlgorithmType
    ReferencedSegmentNumber SegmentsOverlap RecommendedDisplayCIELabValue SpatialLocationsPreserved ContentQualification
    AcquisitionTime ContentTime SeriesTime StudyTime FrameReferenceTime
    """.split()  # noqa: SIM905  a page of words reads better than a page of quotation marks
)
"""Keywords of elements whose values leave as they are."""

SEQUENCES = frozenset(
    """
    SharedFunctionalGroupsSequence PerFrameFunctionalGroupsSequence PixelMeasuresSequence PlanePositionSequence
    PlaneOrientationSequence PixelValueTransformationSequence FrameVOILUTSequence FrameContentSequence
    MRImageFrameTypeSequence CTImageFrameTypeSequence FrameAnatomySequence AnatomicRegionSequence
    DerivationImageSequence SourceImageSequence ReferencedImageSequence ReferencedSeriesSequence
    ReferencedInstanceSequence ReferencedFrameOfReferenceSequence DimensionOrganizationSequence DimensionIndexSequence
    SegmentSequence SegmentIdentificationSequence SegmentedPropertyCategoryCodeSequence
    SegmentedPropertyTypeCodeSequence PurposeOfReferenceCodeSequence DerivationCodeSequence
    RealWorldValueMappingSequence MeasurementUnitsCodeSequence ViewCodeSequence
    """.split()  # noqa: SIM905
)
"""Keywords of sequences whose items leave, each item by this same list."""

EMPTIED = frozenset(
    """
    PatientName PatientBirthDate AccessionNumber StudyID ReferringPhysicianName PositionReferenceIndicator
    """.split()  # noqa: SIM905
)
"""Keywords of elements that have to be there, and leave without a value."""

WORDS: Mapping[str, frozenset[str]] = {
    "RescaleType": frozenset({"HU", "US", "OD", "MGML", "PCT", "Z_EFF", "ED", "EDW"}),
    "BodyPartExamined": frozenset(
        """
        ABDOMEN ANKLE ARM BRAIN BREAST CHEST CSPINE ELBOW FOOT HAND HEAD HEADNECK HEART HIP KIDNEY KNEE LEG LIVER LSPINE
        LUNG NECK PANCREAS PELVIS PROSTATE SHOULDER SKULL SPINE TSPINE WHOLEBODY WRIST
        """.split()  # noqa: SIM905
    ),
}
"""Elements in which a hospital can write what it likes; only these values leave."""

CODING_SCHEMES = frozenset({"DCM", "SCT", "SRT", "UCUM", "FMA", "NCIt", "UMLS", "99SIGHTLINE"})
"""Whose code words leave with their meaning; the meanings of a hospital's own scheme are free text."""

WITHOUT_ANNOTATION = frozenset({"CT", "MR", "PT", "NM", "RTDOSE", "SEG", "SR"})
"""Kinds of scanner whose pictures carry no words in their pixels unless they say so."""

CAPTURES = ("1.2.840.10008.5.1.4.1.1.7",)
"""Beginning of the SOP classes of secondary captures: photographs of screens, with whatever stood on them."""
