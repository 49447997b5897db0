"""What a medical job leaves: mask, result JSON, Excel report, DICOM SEG and SR, pictures."""
