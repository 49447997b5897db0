"""The part of the tree that is about jobs and about the programs around: who hears of them, who gives and takes.

A part of `settings.model`, which tells how it becomes the reference page.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr

from sightline.settings.forms import ADDRESS, Names, Section


class BackendSettings(Section):
    """The program that asks this one."""

    url: str | None = Field(
        default=None,
        description="Address of the application that hears of results; webhooks may go to its host.",
        examples=["http://backend:8080"],
        json_schema_extra=ADDRESS,
    )
    secret: SecretStr | None = Field(
        default=None,
        description="Secrets (`whsec_...`, separated by commas) that sign what it is told; a file of them is read "
        "again when it changes. None: made from `auth.service_token`: `whsec_` and the base64 of its SHA-256.",
        examples=["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
    )
    ca: Path | None = Field(
        default=None, description="Certificates (PEM) that sign its own; None: the system's.", examples=["tls/ca.pem"]
    )
    timeout_s: float = Field(
        default=10.0, gt=0, le=120, description="Longest time in which it takes one message.", examples=[10.0]
    )
    retry_hours: float = Field(
        default=72.0,
        gt=0,
        description="Hours in which a message is tried again that it does not take.",
        examples=[72.0],
    )


class WebhooksSettings(Section):
    """Who is told of events, and where messages may go to."""

    allow: Names = Field(
        default=("public",),
        description="Hosts, addresses and networks; `public` is every public address. That of `backend.url` always is.",
        examples=["public,hooks.internal,10.1.0.0/16"],
    )
    receivers: SecretStr | None = Field(
        default=None,
        description="Addresses, separated by commas, that this server tells of the events of all cases; the sink "
        "`webhook` is for one case.",
        examples=["https://hooks.example.org/sightline"],
    )
    types: Names = Field(
        default=("run.*",), description="Short types, or families, that they hear of.", examples=["run.*,model.*"]
    )
    secret: SecretStr | None = Field(
        default=None,
        description="Secrets (`whsec_...`, separated by commas) that sign what they are told; a file of them is read "
        "again when it changes. None: nothing is signed.",
        examples=["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
    )
    retry_hours: float = Field(
        default=72.0, gt=0, description="Hours in which a message is tried again that is not taken.", examples=[72.0]
    )


class JobsSettings(Section):
    """Durable jobs and who works on them."""

    workers: int = Field(
        default=1,
        ge=0,
        description="Jobs that `sightline serve` works on at the same time; 0 leaves them to `sightline worker`.",
        examples=[2],
    )
    lease_s: float = Field(
        default=15.0,
        ge=0.5,
        description="Seconds after which a worker that says nothing is taken for dead.",
        examples=[15.0],
    )
    poll_s: float = Field(
        default=0.05,
        gt=0,
        description="Seconds between two looks for jobs that other processes submitted.",
        examples=[0.05],
    )
    attempts: int = Field(
        default=3, ge=1, description="How often a job is tried whose case does not say it.", examples=[3]
    )
    retry_s: float = Field(
        default=2.0, gt=0, description="Seconds before the second attempt; they double with each.", examples=[2.0]
    )


class DicomwebSettings(Section):
    """The picture archive (PACS) that series are fetched from and results are sent to."""

    url: str | None = Field(
        default=None,
        description="Address of its DICOMweb root; jobs on `dicomweb:STUDY/SERIES` read from it.",
        examples=["http://pacs:8042/dicom-web"],
        json_schema_extra=ADDRESS,
    )
    user: str | None = Field(default=None, description="Name that we log in with.", examples=["sightline"])
    password: SecretStr | None = Field(default=None, description="Password to it.", examples=["a-long-random-text"])
    callers: Names = Field(
        default=("manage",),
        description="Who may have jobs read studies: scopes (`infer`, `manage`, `admin`), ids of keys, subjects of "
        "tokens, `service` for the service token. Admins always may.",
        examples=["service,k7Qm2xPb"],
    )
    studies: Names = Field(
        default=("*",),
        description="What they may read: `*` is every study of this archive, `1.2.840.*` those whose UID begins so; an "
        "address is another archive, whose host `webhooks.allow` must have too.",
        examples=["1.2.840.113619.*,https://pacs2.example.org/dicom-web"],
    )


class MedicalSettings(Section):
    """What `POST /infer` runs, and how."""

    case: str = Field(
        default="brain_segmentation", description="Case that `POST /infer` runs.", examples=["brain_segmentation"]
    )
    default_profile: str | None = Field(
        default=None,
        description="Profile of a request that names none; None: that of the case.",
        examples=["production"],
    )
    profiles_root: Path | None = Field(
        default=None,
        description="Folder of profiles of your own (`NAME.yaml`), besides the shipped ones and those of the folder "
        "`profiles` of a case.",
        examples=["profiles"],
        json_schema_extra={"default_text": "profiles in data_root"},
    )
    decision_threshold: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Probability from which a voxel counts, for a request that names none; None: the profile's.",
        examples=[0.55],
    )
    wait_s: float = Field(
        default=300.0,
        ge=0,
        description="Seconds that `POST /infer` waits for the end of a job; then it answers 202 and the job goes on.",
        examples=[300.0],
    )
    dicomweb: DicomwebSettings = Field(default_factory=DicomwebSettings)
