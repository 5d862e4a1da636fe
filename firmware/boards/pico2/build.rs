fn main(){
 let out=std::env::var("OUT_DIR").unwrap();
 std::fs::write(format!("{out}/memory.x"), include_str!("memory/pico2.x")).unwrap();
 println!("cargo:rustc-link-search={out}");
 for s in ["link.x","defmt.x"]{println!("cargo:rustc-link-arg-bins=-T{s}");}
 println!("cargo:rustc-link-arg-bins=--nmagic");
}
