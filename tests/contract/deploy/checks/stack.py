"""
Create the stack on standard input with moto's CloudFormation, and print the service it has made.

Run by the Python of .venv/deploy. moto leaves out the autoscaling, which it does not know.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import warnings
from typing import Any

#: In .venv/deploy only, which the type checker does not look into.
boto3, moto = map(importlib.import_module, ["boto3", "moto"])


def surroundings() -> dict[str, str]:
    """Make what the stack expects to be there, and return its parameters."""
    ec2, balancing = boto3.client("ec2"), boto3.client("elbv2")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnets = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{n}.0/24", AvailabilityZone=zone)
        for n, zone in enumerate(("us-east-1a", "us-east-1b"))
    ]
    subnet_ids = [subnet["Subnet"]["SubnetId"] for subnet in subnets]
    groups = [
        ec2.create_security_group(VpcId=vpc, GroupName=name, Description=name)["GroupId"]
        for name in ("balancer", "prometheus")
    ]
    balancer = balancing.create_load_balancer(Name="balancer", Subnets=subnet_ids)["LoadBalancers"]
    listener = balancing.create_listener(
        LoadBalancerArn=balancer[0]["LoadBalancerArn"],
        Protocol="HTTP",
        Port=80,
        DefaultActions=[{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "404"}}],
    )["Listeners"][0]["ListenerArn"]
    boto3.client("ecs").create_cluster(clusterName="atom")
    secret = boto3.client("secretsmanager").create_secret(Name="url", SecretString="made up")
    return {
        "Cluster": "atom",
        "ImageUri": "atom-platform:0.1.0",
        "DatabaseSecretArn": secret["ARN"],
        "VpcId": vpc,
        "SubnetIds": ",".join(subnet_ids),
        "ListenerArn": listener,
        "LoadBalancerSecurityGroupId": groups[0],
        "MetricsSecurityGroupId": groups[1],
    }


def create(template: str) -> dict[str, Any]:
    parameters = surroundings()
    formation, ecs = boto3.client("cloudformation"), boto3.client("ecs")
    formation.create_stack(
        StackName="atom-platform",
        TemplateBody=template,
        Capabilities=["CAPABILITY_IAM"],
        Parameters=[{"ParameterKey": k, "ParameterValue": v} for k, v in parameters.items()],
    )
    services = ecs.describe_services(cluster="atom", services=["atom-platform"])["services"]
    return {
        "status": formation.describe_stacks()["Stacks"][0]["StackStatus"],
        "service": services[0],
        "task": ecs.describe_task_definition(taskDefinition=services[0]["taskDefinition"]),
        "parameters": parameters,
    }


def main() -> None:
    os.environ |= {
        "AWS_ACCESS_KEY_ID": "none",
        "AWS_SECRET_ACCESS_KEY": "none",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    warnings.simplefilter("ignore")
    with moto.mock_aws():
        json.dump(create(sys.stdin.read()), sys.stdout, default=str)


if __name__ == "__main__":
    main()
