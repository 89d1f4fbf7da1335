"""
Register the ECS task and service on standard input with moto's ECS, and print what it has then.

Run by the Python of .venv/deploy. botocore's own model of the API refuses what AWS would not parse.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from typing import Any

#: In .venv/deploy only, which the type checker does not look into.
boto3, moto, exceptions = map(importlib.import_module, ["boto3", "moto", "botocore.exceptions"])

REGION = "us-east-1"


def register(given: dict[str, Any]) -> dict[str, Any]:
    ecs = boto3.client("ecs", region_name=REGION)
    task = ecs.register_task_definition(**given["task"])["taskDefinition"]
    answer = {"task": ecs.describe_task_definition(taskDefinition=task["taskDefinitionArn"])}
    if "service" in given:
        ecs.create_cluster(clusterName=given["service"]["cluster"])
        ecs.create_service(**(given["service"] | {"networkConfiguration": network()}))
        answer["services"] = ecs.describe_services(
            cluster=given["service"]["cluster"], services=[given["service"]["serviceName"]]
        )
    return answer


def network() -> dict[str, Any]:
    """Return subnets and a group that exist: moto, like AWS, asks for them."""
    ec2 = boto3.client("ec2", region_name=REGION)
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.0.0/24")["Subnet"]["SubnetId"]
    group = ec2.create_security_group(VpcId=vpc, GroupName="tasks", Description="tasks")["GroupId"]
    return {"awsvpcConfiguration": {"subnets": [subnet], "securityGroups": [group]}}


def main() -> int:
    os.environ |= {"AWS_ACCESS_KEY_ID": "none", "AWS_SECRET_ACCESS_KEY": "none"}
    given = json.load(sys.stdin)
    try:
        with moto.mock_aws():
            json.dump(register(given), sys.stdout, default=str)
    except (exceptions.ParamValidationError, exceptions.ClientError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
