"""Rows of those who use the house: customers, keys, runs, and processes."""

from lava_proxy.core.entities import Customer, CustomerStatus, Instance, Key, KeyScope, Run
from lava_proxy.store.table import (
    Cells,
    Lookup,
    Reference,
    Row,
    Table,
    from_json,
    list_from_json,
    list_to_json,
    to_json,
)


def _encode_customer(row: Customer) -> Row:
    return (
        row.customer_id,
        row.reference_id,
        row.name,
        row.email,
        row.phone,
        to_json(dict(row.metadata)),
        row.meter_id,
        row.status.value,
        row.created_us,
    )


def _decode_customer(cells: Cells) -> Customer:
    customer_id, reference_id, name, email, phone, metadata, meter_id, status, created_us = cells
    return Customer(
        customer_id=customer_id,
        reference_id=reference_id,
        name=name,
        email=email,
        phone=phone,
        metadata=tuple(from_json(metadata).items()),
        meter_id=meter_id,
        status=CustomerStatus(status),
        created_us=created_us,
    )


CUSTOMERS = Table(
    kind=Customer,
    name="customers",
    key=("customer_id",),
    key_of=lambda row: (row.customer_id,),
    columns=("customer_id", "reference_id", "name", "email", "phone", "metadata", "meter_id", "status", "created_us"),
    encode=_encode_customer,
    decode=_decode_customer,
    lookups={"reference_id": Lookup(value=lambda row: row.reference_id)},
    unique={"reference_id": lambda row: row.reference_id},
)


def _encode_key(row: Key) -> Row:
    return (
        row.key_id,
        row.scope.value,
        row.secret_sha256,
        row.hint,
        row.name,
        row.customer_id,
        list_to_json(row.meter_ids),
        row.run_id,
        row.created_us,
        row.expires_us,
        row.revoked_us,
        row.last_used_us,
    )


def _decode_key(cells: Cells) -> Key:
    (
        key_id,
        scope,
        secret,
        hint,
        name,
        customer_id,
        meter_ids,
        run_id,
        created_us,
        expires_us,
        revoked_us,
        last_used_us,
    ) = cells
    return Key(
        key_id=key_id,
        scope=KeyScope(scope),
        secret_sha256=secret,
        hint=hint,
        name=name,
        customer_id=customer_id,
        meter_ids=list_from_json(meter_ids),
        run_id=run_id,
        created_us=created_us,
        expires_us=expires_us,
        revoked_us=revoked_us,
        last_used_us=last_used_us,
    )


KEYS_OF_CALLERS = Table(
    kind=Key,
    name="keys",
    key=("key_id",),
    key_of=lambda row: (row.key_id,),
    columns=(
        "key_id",
        "scope",
        "secret_sha256",
        "hint",
        "name",
        "customer_id",
        "meter_ids",
        "run_id",
        "created_us",
        "expires_us",
        "revoked_us",
        "last_used_us",
    ),
    encode=_encode_key,
    decode=_decode_key,
    lookups={"customer_id": Lookup(value=lambda row: row.customer_id), "run_id": Lookup(value=lambda row: row.run_id)},
    references=(
        Reference(kind=Customer, keys=lambda row: ((row.customer_id,),) if row.customer_id is not None else ()),
        Reference(kind=Run, keys=lambda row: ((row.run_id,),) if row.run_id is not None else ()),
    ),
)


def _encode_run(row: Run) -> Row:
    return (row.run_id, row.customer_id, row.meter_id, row.created_us, row.ended_us)


def _decode_run(cells: Cells) -> Run:
    run_id, customer_id, meter_id, created_us, ended_us = cells
    return Run(run_id=run_id, customer_id=customer_id, meter_id=meter_id, created_us=created_us, ended_us=ended_us)


RUNS = Table(
    kind=Run,
    name="runs",
    key=("run_id",),
    key_of=lambda row: (row.run_id,),
    columns=("run_id", "customer_id", "meter_id", "created_us", "ended_us"),
    encode=_encode_run,
    decode=_decode_run,
    references=(
        Reference(kind=Customer, keys=lambda row: ((row.customer_id,),) if row.customer_id is not None else ()),
    ),
)


def _encode_instance(row: Instance) -> Row:
    return (row.instance_id, row.name, row.pid, row.version, row.started_us, row.ended_us)


def _decode_instance(cells: Cells) -> Instance:
    instance_id, name, pid, version, started_us, ended_us = cells
    return Instance(
        instance_id=instance_id, name=name, pid=pid, version=version, started_us=started_us, ended_us=ended_us
    )


INSTANCES = Table(
    kind=Instance,
    name="instances",
    key=("instance_id",),
    key_of=lambda row: (row.instance_id,),
    columns=("instance_id", "name", "pid", "version", "started_us", "ended_us"),
    encode=_encode_instance,
    decode=_decode_instance,
    lookups={"ended_us": Lookup(value=lambda row: row.ended_us)},
)
