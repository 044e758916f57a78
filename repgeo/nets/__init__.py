"""Small networks and their training: three architectures, a few seconds a seed on one CPU core.

A `Net` is a frozen description, its parameters are a plain tree of arrays, and everything else is a function
of the two.
"""

from repgeo.nets.forward import CNN as CNN
from repgeo.nets.forward import MLP as MLP
from repgeo.nets.forward import NARROW as NARROW
from repgeo.nets.forward import Conv as Conv
from repgeo.nets.forward import Dense as Dense
from repgeo.nets.forward import Net as Net
from repgeo.nets.forward import accuracy as accuracy
from repgeo.nets.forward import activations as activations
from repgeo.nets.forward import apply as apply
from repgeo.nets.forward import calibrate as calibrate
from repgeo.nets.forward import init as init
from repgeo.nets.forward import prepare as prepare
from repgeo.nets.forward import resume as resume
from repgeo.nets.joint_embedding import Augment as Augment
from repgeo.nets.joint_embedding import JointNet as JointNet
from repgeo.nets.joint_embedding import JointRun as JointRun
from repgeo.nets.joint_embedding import augmented as augmented
from repgeo.nets.joint_embedding import embed as embed
from repgeo.nets.joint_embedding import init_joint as init_joint
from repgeo.nets.joint_embedding import train_joint as train_joint
from repgeo.nets.joint_losses import barlow_twins_loss as barlow_twins_loss
from repgeo.nets.joint_losses import simclr_loss as simclr_loss
from repgeo.nets.joint_losses import vicreg_loss as vicreg_loss
from repgeo.nets.stored import pack as pack
from repgeo.nets.stored import saved as saved
from repgeo.nets.stored import unpack as unpack
from repgeo.nets.training import Run as Run
from repgeo.nets.training import freezing_schedule as freezing_schedule
from repgeo.nets.training import train as train
from repgeo.nets.training import training_flops as training_flops
