"""torchvision's ResNets, each activation with a node of its own.

Published blocks call one ReLU module two or three times. A quantizer that traces the graph takes a
module for one place and refuses several ("Input partition has more than one output node").
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet


class _Basic(BasicBlock):
    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)), inplace=True)
        out = self.bn2(self.conv2(out))
        out += x if self.downsample is None else self.downsample(x)
        return F.relu(out, inplace=True)


class _Bottleneck(Bottleneck):
    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)), inplace=True)
        out = F.relu(self.bn2(self.conv2(out)), inplace=True)
        out = self.bn3(self.conv3(out))
        out += x if self.downsample is None else self.downsample(x)
        return F.relu(out, inplace=True)


def with_own_activations(model: nn.Module) -> nn.Module:
    """Change a ResNet's blocks in place: the same numbers and state, no module called twice."""
    for block in model.modules():
        for published, own in ((BasicBlock, _Basic), (Bottleneck, _Bottleneck)):
            if type(block) is published:
                block.__class__ = own
    return model


def cifar_stem(model: ResNet) -> ResNet:
    """Change a ResNet's stem in place to a 3x3 stride-1 convolution without max-pool.

    For images of 32 pixels and less (He et al. 2016, section 4.2).
    """
    width = model.conv1.out_channels
    model.conv1 = nn.Conv2d(3, width, 3, padding=1, bias=False)
    model.maxpool = nn.Identity()
    return model
